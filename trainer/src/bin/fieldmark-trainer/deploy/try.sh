# Are the copies whole, and does the new program give the trainer's answers here? What is installed is not touched.
{
    cd -- "$staging" || exit 1
    printf '%s' "$hashes" | sha256sum -c - >&2 || exit 11
    chmod 755 "$program" || exit 1
    answered() { "$program" verify --format json "./$1"; }
    each_model answered || exit 12
}
