#!/bin/sh
# Look the Nix files over, with what of Nix is installed.
#
#   tools/check-nix.sh           they parse, are formatted, have no lint, and the module's evaluation tests hold
#   tools/check-nix.sh format    format them
#
# The evaluation tests need a checkout of nixpkgs, named by NIXPKGS; those with sops-nix one of that, too, named
# by SOPS_NIX. Says one line about what could not be done, and nothing of what is well.
set -eu

cd "$(dirname "$0")/.."
skipped=

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

skip() {
    skipped="${skipped:+$skipped, }$1"
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# Runs a command with every Nix file of the project as its last arguments.
with_nix_files() {
    find . \( -name .git -o -name .venv -o -name .tools -o -name .direnv -o -name result -o -name 'result-*' \) -prune \
        -o -name '*.nix' -type f -exec "$@" {} +
}

# Before 1.0 a program of this name wrote another style.
has_nixfmt() {
    has nixfmt && case $(nixfmt --version) in "nixfmt 0."*) false ;; esac
}

case ${1:-check} in
    format)
        if has_nixfmt; then with_nix_files nixfmt; fi
        exit
        ;;
    check) ;;
    *) fail "tools/check-nix.sh: format, or nothing, not '$1'." ;;
esac

if has nix-instantiate; then
    # Parsing stores nothing, and must not want a store that is set up.
    with_nix_files env NIX_REMOTE=dummy:// nix-instantiate --parse >/dev/null ||
        fail "A Nix file can't be parsed: see above."
else
    skip "parsing (no nix-instantiate)"
fi

if has_nixfmt; then
    with_nix_files nixfmt --check || fail "Nix files are not formatted: run make format, or nix fmt."
else
    skip "format (no nixfmt 1.0 or newer)"
fi

if has statix; then
    statix check --format errfmt . || fail "statix found something: see above."
else
    skip "lint (no statix)"
fi

if has deadnix; then
    with_nix_files deadnix --fail || fail "Nix files declare what they do not use: see above."
else
    skip "unused declarations (no deadnix)"
fi

if [ -z "${NIXPKGS:-}" ]; then
    skip "evaluation tests (NIXPKGS is not set)"
elif ! has nix-instantiate; then
    skip "evaluation tests (no nix-instantiate)"
else
    [ -e "$NIXPKGS/nixos/lib/eval-config.nix" ] || fail "NIXPKGS must name a checkout of nixpkgs; $NIXPKGS is none."
    set --
    if [ -n "${SOPS_NIX:-}" ]; then
        set -- --argstr sops-nix "$(cd "$SOPS_NIX" && pwd)"
    else
        skip "evaluation tests with sops-nix (SOPS_NIX is not set)"
    fi
    nix-instantiate --eval --strict nixos-tests/eval/run.nix -A check -I "nixpkgs=$NIXPKGS" "$@" >/dev/null ||
        fail "Evaluation tests of the module fail: see above."
fi

[ -z "$skipped" ] || echo "Nix files, not checked: $skipped."
