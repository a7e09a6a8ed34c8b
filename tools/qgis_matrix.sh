#!/usr/bin/env bash
# The plugin's tests in other versions of QGIS: those of the Debian suites in SUITES, each in a chroot below ROOTS, which
# sees the repository but cannot change it. Needs root, debootstrap and `make setup`; minutes and 3 GB a suite, the first
# time.
set -euo pipefail
cd "$(dirname "$0")/.."
MIRROR=${MIRROR:-http://deb.debian.org/debian}
SUITES=${SUITES:-trixie sid}
ROOTS=${ROOTS:-/var/tmp/rotacube-qgis}
TOOLS=$(echo .venv-qgis/lib/python3*/site-packages)  # pytest and its plugins are plain Python: any version runs them

if [ "$(id -u)" -ne 0 ] || ! command -v debootstrap >/dev/null 2>&1; then
  echo "The matrix needs root and debootstrap (apt install debootstrap)." >&2
  exit 1
fi

mounted=()
unmount() { for place in "${mounted[@]}"; do umount -l "$place" || true; done; mounted=(); }
trap unmount EXIT

make_root() {
  rm -rf --one-file-system "$2"
  mkdir -p "$2"
  debootstrap --variant=minbase --include=ca-certificates "$1" "$2" "$MIRROR" >"$2.log" 2>&1 || { tail -5 "$2.log" >&2; return 1; }
  # An unstable suite's mirror may be older than its index allows.
  chroot "$2" env DEBIAN_FRONTEND=noninteractive sh -c 'apt-get -o Acquire::Check-Valid-Until=false update -qq &&
    apt-get install -y -qq --no-install-recommends qgis python3-qgis python3-gdal xvfb xauth fonts-dejavu-core' \
    >>"$2.log" 2>&1 || { tail -5 "$2.log" >&2; return 1; }
  touch "$2/.done"
}

failed=0
for suite in $SUITES; do
  root=$ROOTS/$suite
  [ -f "$root/.done" ] || { echo "Making $suite"; make_root "$suite" "$root"; }
  mkdir -p "$root/repo"
  for pair in "$PWD:$root/repo" "/proc:$root/proc" "/dev/shm:$root/dev/shm"; do
    mkdir -p "${pair#*:}"
    mount --bind "${pair%%:*}" "${pair#*:}"
    mounted=("${pair#*:}" "${mounted[@]}")
  done
  mount -o remount,ro,bind "$root/repo"
  version=$(chroot "$root" env QT_QPA_PLATFORM=offscreen python3 -c 'from qgis.core import Qgis; print(Qgis.QGIS_VERSION)' | tail -1)
  echo "== $suite: QGIS $version"
  chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 PYTHONPATH="/repo/$TOOLS" PYTHONDONTWRITEBYTECODE=1 \
    sh -c 'cd /repo && exec xvfb-run -a -s "-screen 0 1500x1000x24" python3 -m pytest -p no:cacheprovider tests/plugin "$@"' sh "$@" || failed=1
  unmount
done
exit $failed
