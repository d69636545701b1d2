# What the board is and has, one fact a line; changes nothing.
{
    echo "machine $(uname -m)"
    echo "bits $(getconf LONG_BIT 2>/dev/null)"
    echo "libc $(getconf GNU_LIBC_VERSION 2>/dev/null)"
    echo "debian $(dpkg --print-architecture 2>/dev/null)"
    echo "model $(tr -d '\000' 2>/dev/null </proc/device-tree/model)"
    echo "free $(df -Pk . | awk 'NR == 2 { print $4 }')"
    for program in sha256sum sync; do
        command -v "$program" >/dev/null || echo "missing $program"
    done
}
