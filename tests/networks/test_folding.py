"""Networks as they are run give what they were trained to give, and are left as they are."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rotacube.networks.folding import folded
from rotacube.networks.registry import NETWORKS, create_model


def used(network):
    """A network whose norms have seen something, and whose weights are not those of a new one."""
    torch.manual_seed(4)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.running_mean, -0.5, 0.5)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)
            nn.init.uniform_(norm.weight, -1.5, 1.5)
            nn.init.uniform_(norm.bias, -0.5, 0.5)
    return network.eval()


@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_network_gives_the_same(name):
    network = used(create_model(name, 3, 4, width=0.25))
    state = {key: value.clone() for key, value in network.state_dict().items()}
    image = torch.randn(2, 3, 64, 64)
    made = folded(network)
    with torch.inference_mode():
        want, found = network(image), made(image)
    scale = want.std() + 1e-3
    torch.testing.assert_close(found / scale, want / scale, atol=2e-3, rtol=1e-3)
    again = network.state_dict()
    assert all(torch.equal(again[key], value) for key, value in state.items())
    assert not any(part.inplace for part in network.modules() if isinstance(part, (nn.ReLU, nn.ReLU6)))
    assert (made is network) == (not any(isinstance(part, nn.BatchNorm2d) for part in network.modules()))


def test_no_norm_is_left_where_each_follows_a_convolution():
    made = folded(used(create_model("lite-unet", 3, 2)))
    assert not [part for part in made.modules() if isinstance(part, nn.BatchNorm2d)]
