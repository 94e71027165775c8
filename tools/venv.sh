#!/bin/sh
# venv.sh - the Python packages that tests need and Debian does not have, in a virtual environment below build/.
#
# moto: an AWS-compatible key service to try ours against; python-hcl2: reads configs/deploy/terraform/; tokenizers: a byte-pair
# encoder to compare ours with; where nvcc is, NVIDIA's disassembler, for tools/sass.py. Nothing of them is part of the product. Does nothing where the environment is there in this version; DEPS=0 installs nothing.
set -eu
cd "$(dirname "$0")/.."
venv=build/venv
wanted="moto[server]==5.1.9 python-hcl2==7.3.1 tokenizers==0.21.4"
if [ -x /usr/local/cuda/bin/nvcc ] || command -v nvcc >/dev/null; then wanted="$wanted nvidia-cuda-nvdisasm==13.5.37"; fi

[ "$(cat $venv/wanted 2>/dev/null || :)" = "$wanted" ] && exit 0
[ "${DEPS:-1}" = 0 ] && exit 0
echo "sovrun: installing into $venv: $wanted"
rm -rf $venv
"${PYTHON:-/usr/bin/python3}" -m venv $venv
# shellcheck disable=SC2086 # a list of words
"$venv/bin/pip" install -q --disable-pip-version-check $wanted
echo "$wanted" >$venv/wanted
