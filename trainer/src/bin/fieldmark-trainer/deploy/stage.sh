# An empty folder for what is copied. One that was left by a lost connection is emptied.
{
    rm -rf -- "$staging" && mkdir -- "$staging" || exit 1
}
