"""A plan as ISOXML (ISO 11783-10, version 4): the task of a machine, as treatment zones, with the library isoxml.

Rates are setpoints of volume per area, data dictionary identifier 1, whose unit is 0.01 mm³/m²: a litre a hectare is
10,000 of them (https://www.isobus.net/isobus/dDEntity/index/1).
"""

from __future__ import annotations

import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import isoxml.models.base.v4 as iso
import numpy as np
import shapely
from isoxml.converter.shapely_geom import ShapelyConverterV4
from isoxml.models.ddi_entities import DDEntity
from isoxml.util.isoxml_io import isoxml_to_text
from numpy.typing import NDArray

from rotacube import __version__
from rotacube.errors import OptionsRefused
from rotacube.treatment.plan import Plan

MOST = 50_000
"""Cells of a task: what machines read in one file is little, and the library holds all of it."""
LARGEST = 200_000.0
"""Litres a hectare that the format can say."""
NAME = "TASKDATA/TASKDATA.XML"
_VOLUME = 1
_PER_LITRE = 10_000
_LONGEST = 32
_LEAST = 1e-9


def check_plan(plan: Plan) -> None:
    """Check that a plan can be a task.

    Raises:
        OptionsRefused: it cannot; the sentence says why.
    """
    if plan.rate is None:
        raise OptionsRefused("ISOXML tells a machine how much to spread. Give a rate in litres a hectare.")
    if len(plan.numbers) > MOST:
        raise OptionsRefused(
            f"{len(plan.numbers):,} cells are more than the {MOST:,} that an ISOXML task may have. Choose larger "
            "cells, a smaller area, or a Shapefile."
        )


def write_task(path: Path, plan: Plan, shapes: NDArray[np.object_], name: str) -> None:
    """Write a zip that holds TASKDATA/TASKDATA.XML.

    Args:
        path: of the new file.
        plan: that `check_plan` found good.
        shapes: (N,) its cells, in degrees (WGS 84).
        name: of field and task; what is longer than 32 characters is cut.

    Raises:
        OSError: it cannot be written.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(NAME, isoxml_to_text(_task_data(plan, shapes, name[:_LONGEST])))


def _task_data(plan: Plan, shapes: NDArray[np.object_], name: str) -> Any:
    """Customer and farm are there because some terminals list fields below them alone."""
    customer = iso.Customer(id="CTR1", last_name="Rotacube")
    farm = iso.Farm(id="FRM1", designator="Rotacube", customer_id_ref=customer.id)
    product = iso.Product(id="PDT1", designator="Product", quantity_ddi=bytes(DDEntity.from_id(_VOLUME)))
    litres = iso.ValuePresentation(
        id="VPN1", offset=0, scale=Decimal(1) / _PER_LITRE, number_of_decimals=1, unit_designator="l/ha"
    )
    belongs = {"customer_id_ref": customer.id, "farm_id_ref": farm.id}
    field = iso.Partfield(
        id="PFD1", designator=name, area=round(float(plan.areas.sum())), polygons=_boundary(shapes), **belongs
    )
    task = iso.Task(
        id="TSK1",
        designator=name,
        status=iso.TaskStatus.Planned,
        partfield_id_ref=field.id,
        # nothing is spread where no cell is, or nobody knows where the machine is
        default_treatment_zone_code=0,
        position_lost_treatment_zone_code=0,
        out_of_field_treatment_zone_code=0,
        treatment_zones=_zones(plan, shapes),
        **belongs,
    )
    return iso.Iso11783TaskData(
        management_software_manufacturer="Rotacube",
        management_software_version=__version__,
        data_transfer_origin=iso.Iso11783TaskDataDataTransferOrigin.FMIS,
        customers=[customer],
        farms=[farm],
        partfields=[field],
        products=[product],
        tasks=[task],
        value_presentations=[litres],
    )


def _boundary(shapes: NDArray[np.object_]) -> list[Any]:
    whole = shapely.union_all(shapes, grid_size=_LEAST)
    kind = iso.PolygonType.PartfieldBoundary
    return [ShapelyConverterV4().to_iso_polygon(part, kind) for part in shapely.get_parts(whole)]


def _zones(plan: Plan, shapes: NDArray[np.object_]) -> list[Any]:
    """A zone for each rate: 0 first, also where no cell has it."""
    rate = np.zeros(len(shapes)) if plan.rate is None else plan.rate
    values = np.rint(rate * _PER_LITRE).astype(np.int64)
    to_iso, ddi = ShapelyConverterV4(), bytes(DDEntity.from_id(_VOLUME))
    return [
        iso.TreatmentZone(
            code=code,
            designator=f"{value / _PER_LITRE:g} l/ha",
            process_data_variables=[
                iso.ProcessDataVariable(
                    process_data_ddi=ddi,
                    process_data_value=value,
                    product_id_ref="PDT1",
                    value_presentation_id_ref="VPN1",
                )
            ],
            polygons=[to_iso.to_iso_polygon(cell, iso.PolygonType.TreatmentZone) for cell in shapes[values == value]],
        )
        for code, value in enumerate(sorted({0, *values.tolist()}))
    ]
