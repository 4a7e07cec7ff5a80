#!/bin/sh
# Make pkgs/nakamura-misaki/.venv what uv.lock says, with nothing but a Python >= 3.11 at hand.
#
#   tools/bootstrap.sh demo    the package and its embedded PostgreSQL
#   tools/bootstrap.sh dev     these and everything that tests and checks need
#
# Costs nothing when the environment is up to date. Uses the uv on PATH, else one of its own in
# .tools/. Says one line when it has something to do, and everything when that fails.
set -eu

what=${1:-dev}
cd "$(dirname "$0")/.."
root=$(pwd -P)
package=pkgs/nakamura-misaki
environment=$package/.venv
log=

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# Runs a command silently; shows all that it said only if it fails.
quietly() {
    if ! "$@" >"$log" 2>&1; then
        cat "$log" >&2
        return 1
    fi
}

# Another project's environment and settings must not leak into this one.
unset VIRTUAL_ENV CONDA_PREFIX PYTHONHOME PYTHONPATH UV_PYTHON UV_PROJECT UV_WORKING_DIR 2>/dev/null || true
export UV_PROJECT_ENVIRONMENT="$root/$environment"
export UV_PYTHON_DOWNLOADS=never
export PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1
# Trust what the system trusts, as pip does: a company's proxy may sign with its own authority.
for bundle in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
    if [ -r "$bundle" ] && [ -z "${SSL_CERT_FILE:-}" ]; then
        export SSL_CERT_FILE="$bundle"
    fi
done

wanted="$root $(cat $package/uv.lock $package/pyproject.toml tools/bootstrap.sh | cksum)"
is_current() {
    [ -x "$environment/bin/python" ] && [ "$(cat "$environment/.synced-$1" 2>/dev/null)" = "$wanted" ]
}
if is_current dev || is_current "$what"; then
    exit 0
fi

is_suitable() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}
python=
# An environment that works keeps its Python.
for candidate in "$environment/bin/python" python3 python3.14 python3.13 python3.12 python3.11; do
    if is_suitable "$candidate"; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || fail "Python 3.11 or newer is needed, and none was found as python3, python3.14, python3.13, python3.12 or python3.11."

echo "Setting up $environment (once; it fetches packages, a minute or so) ..." >&2
mkdir -p .tools
log=$(mktemp)
draft=
trap 'rm -rf "$log" ${draft:+"$draft"}' EXIT
trap 'exit 130' INT TERM
[ -w "${HOME:-/nonexistent}" ] || export UV_CACHE_DIR="$root/.tools/cache"

# Installs uv into .tools/: by a virtual environment, or by pip alone where Debian left venv out.
install_uv() {
    draft=$(mktemp -d .tools/draft.XXXXXX)
    if "$python" -m venv "$draft/venv" >"$log" 2>&1; then
        quietly "$draft/venv/bin/python" -m pip install --quiet --no-input "uv>=0.8" ||
            fail "uv could not be installed from the package index: see above."
        uv_in_draft=$draft/venv/bin/uv
    elif "$python" -m pip --version >/dev/null 2>&1; then
        quietly "$python" -m pip install --quiet --no-input --target "$draft/packages" "uv>=0.8" ||
            fail "uv could not be installed from the package index: see above."
        uv_in_draft=$draft/packages/bin/uv
    else
        fail "This Python can make no virtual environment and has no pip: install uv, or your system's python3-venv."
    fi
    # uv is one program that needs nothing beside it.
    mv "$uv_in_draft" .tools/uv
    rm -rf "$draft"
    draft=
}

if command -v uv >/dev/null 2>&1; then
    uv=uv
else
    [ -x .tools/uv ] || install_uv
    uv=$root/.tools/uv
fi

# --inexact: the demo's smaller set takes nothing away that the other has put there.
case $what in
    demo) set -- --no-dev --inexact --extra embedded ;;
    dev) set -- --all-extras --all-groups ;;
    *) fail "tools/bootstrap.sh: demo or dev, not '$what'." ;;
esac
rm -f "$environment"/.synced-*
quietly "$uv" sync --project "$package" --locked --python "$python" "$@" ||
    fail "The packages could not be installed: see above."
printf '%s\n' "$wanted" >"$environment/.synced-$what"
