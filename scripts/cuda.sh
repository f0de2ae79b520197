#!/usr/bin/env bash
# Runs a command with the CUDA compiler and libraries that PyPI has, in target/cuda: to compile, lint and link the CUDA
# features on a machine without a GPU and without a CUDA toolkit. What is built runs where a driver for CUDA 13 is.
#
#   scripts/cuda.sh cargo clippy -p pg-classify -p pg-wsol --features pg-classify/cudnn,pg-wsol/cudnn -- -D warnings
#   scripts/cuda.sh cargo test --no-run -p pg-grad --features cudnn
#
# Needs Linux on x86-64 and Python 3.10 or later with venv. CUDA_COMPUTE_CAP is the card's compute capability (default 90).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$root/target/cuda
python=$folder/venv/bin/python

if [ ! -e "$folder/ready" ]; then
    mkdir -p "$folder/lib"
    python3 -m venv "$folder/venv"
    # candle's cudarc 0.19 knows toolkits up to 13.4; the runtime and the compiler have to be of one version.
    "$python" -m pip install --quiet nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 \
        nvidia-cuda-runtime==13.0.96 nvidia-cuda-nvrtc==13.0.88 'nvidia-cuda-cccl<13.2' 'nvidia-cublas<13.2' \
        nvidia-curand nvidia-cudnn-cu13
    packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/nvidia
    ln -sfn "$packages/cu13" "$folder/toolkit"
    # The linker wants names without versions, and a driver, of which it reads the name alone.
    for library in "$packages"/cu13/lib/lib*.so.* "$packages"/cudnn/lib/lib*.so.*; do
        name=$(basename "$library")
        ln -sf "$library" "$folder/lib/${name%%.so.*}.so"
    done
    echo | cc -shared -x c - -Wl,-soname,libcuda.so.1 -o "$folder/lib/libcuda.so"
    touch "$folder/ready"
fi

export CUDA_HOME=$folder/toolkit CUDA_PATH=$folder/toolkit CUDA_ROOT=$folder/toolkit
export PATH=$folder/toolkit/bin:$PATH CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-90}
export NVCC_APPEND_FLAGS="-I$folder/toolkit/include -I$folder/toolkit/include/cccl"
# A target that is named keeps these flags from build scripts, which have to run here.
export CARGO_BUILD_TARGET=x86_64-unknown-linux-gnu CARGO_TARGET_DIR=$folder/target
link="-C link-arg=-Wl,--unresolved-symbols=ignore-all -C link-arg=-Wl,--no-as-needed -C link-arg=-lcuda"
export RUSTFLAGS="-L $folder/lib $link"
exec "$@"
