# Removes the copies.
{
    rm -rf -- "$staging"
}
