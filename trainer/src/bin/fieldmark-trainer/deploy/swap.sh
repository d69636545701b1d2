# Puts the copies in their places, tests them there, and takes all of it back if anything fails.
{
    # A lost connection does not stop it half-way.
    trap '' HUP PIPE

    # Each of these takes a file's name among the copies, and its place.
    beside() {
        folder=$(dirname -- "$2") && name=$(basename -- "$2") || return 1
        new=$folder/.$name.new previous=$folder/.$name.previous
    }
    bring() {
        beside "$@" && mkdir -p -- "$folder" || return 1
        if [ -d "$2" ]; then echo "$2 is a folder there; remove it" >&2; return 1; fi
        rm -f -- "$new" && mv -- "$staging/$1" "$new"
    }
    keep() {
        beside "$@" && rm -f -- "$previous" || return 1
        [ ! -e "$2" ] || ln -- "$2" "$previous" 2>/dev/null || cp -p -- "$2" "$previous"
    }
    swap() {
        beside "$@" && mv -f -- "$new" "$2"
    }
    verified() {
        "$installed" verify "$2" >/dev/null
    }
    restore() {
        beside "$@" && rm -f -- "$new" || return 1
        if [ -e "$previous" ]; then mv -f -- "$previous" "$2"; else rm -f -- "$2"; fi
    }
    tidy() {
        beside "$@" && rm -f -- "$new" "$previous"
    }

    if ! { each_file bring && each_file keep && sync; }; then
        each_file tidy
        rm -rf -- "$staging"
        exit 13
    fi
    if each_file swap && each_model verified; then
        each_file tidy
        rm -rf -- "$staging"
        sync
        exit 0
    fi
    each_file restore || exit 15
    rm -rf -- "$staging"
    sync
    exit 14
}
