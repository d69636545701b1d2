#!/usr/bin/env bash
# run PROGRAM ARGUMENT...: starts a program of `bin` where CUDA's libraries are found, or says which are not.
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)

if [ $# -eq 0 ]; then
    echo "usage: $0 PROGRAM ARGUMENT...; programs: $(ls "$here/bin" | tr '\n' ' ')" >&2
    exit 2
fi
program=$here/bin/$1
if [ ! -f "$program" ]; then
    echo "error: no program called $1 in $here/bin" >&2
    exit 2
fi
shift

# Where the wheels of this machine's Python have theirs, one folder a line.
wheels() {
    local python
    for python in "${PYTHON:-}" "${VIRTUAL_ENV:+$VIRTUAL_ENV/bin/python}" python3 python; do
        [ -n "$python" ] && "$python" -c 'import glob, sys
for folder in sys.path:
    print(*glob.glob(glob.escape(folder) + "/nvidia/*/lib"), sep="\n")' 2>/dev/null || true
    done
}

folders=$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
while read -r folder; do
    if [ -n "$folder" ]; then folders+=:$folder; fi
done < <(wheels | awk '!seen[$0]++')
for home in "${CUDA_HOME:-}" "${CUDA_PATH:-}" /usr/local/cuda; do
    if [ -n "$home" ]; then folders+=:$home/lib64:$home/lib; fi
done
# Where containers and WSL keep the driver's.
folders+=:/usr/local/nvidia/lib64:/usr/lib/wsl/lib

export LD_LIBRARY_PATH=$folders
missing=$(ldd "$program" | awk '/not found/ { print $1 }' | sort -u)
if [ -n "$missing" ]; then
    driver=$(grep '^libcuda\.so' <<<"$missing" || true)
    others=$(grep -v '^libcuda\.so' <<<"$missing" | tr '\n' ' ' || true)
    if [ -n "$driver" ]; then
        echo "error: $driver is missing; install NVIDIA's driver, or start the container with the GPU" >&2
    fi
    if [ -n "${others// /}" ]; then
        echo "error: missing: ${others% }; @BROUGHT_BY@" >&2
    fi
    echo "looked in ${folders//:/, }, and where the system's loader looks" >&2
    exit 1
fi
exec "$program" "$@"
