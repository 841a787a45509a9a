#!/bin/sh
# Builds the first-party policies from source into plugins/prebuilt/, and the test policies into tests/fixtures/.
#
#   plugins/build.sh           build and replace what is committed
#   plugins/build.sh --tools   the same with prebuilt/componentize.wasm, the component tools that `cellm plugin build` runs
#   plugins/build.sh --check   build elsewhere and compare with what is committed, bit for bit
#
# Exit code 3: this machine lacks the compiler, or has another one than built what is committed.
#
# Compilers, in this order: the rustup toolchain in use, if it has the target wasm32-unknown-unknown; else Debian's
# rustc-web with its library sources. CELLM_PLUGIN_TOOLCHAIN=rustup|debian decides otherwise.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd -P)
target=wasm32-unknown-unknown
# Every policy, one word each: the folder, the crate cellm-NAME and prebuilt/NAME.wasm.
policies="dense flasc fedavg
    topk-ef stc topk-cm eden fedsrd-topk ecolora unicast
    sparse-adapter federated-select adapter-lth role-mask
    trimmed-mean median krum hetlora flexlora fedex flora fedlol"
# Policies for tests, built into tests/fixtures/.
fixtures="hostile witness"
recorded=plugins/prebuilt/TOOLCHAIN
cargo_home=${CARGO_HOME:-$HOME/.cargo}

has_rustup() { [ -d "$(rustc --print sysroot 2>/dev/null)/lib/rustlib/$target" ]; }
has_debian() { [ -x /usr/bin/rustc ] && [ -x /usr/bin/wasm-ld-19 ] && [ -d /usr/lib/rustlib/src/rust/library ]; }

toolchain=${CELLM_PLUGIN_TOOLCHAIN:-}
if [ -z "$toolchain" ]; then
    if has_rustup; then toolchain=rustup
    elif has_debian; then toolchain=debian
    else
        echo "no compiler for $target. Either: rustup target add $target" >&2
        echo "or, on Debian: apt-get install rustc-web cargo-web rust-web-src lld-19" >&2
        exit 3
    fi
fi

# Paths must not show in the components, or two checkouts would give two results.
flags="-C target-feature=+simd128 --remap-path-prefix=$cargo_home/registry/src=/cargo --remap-path-prefix=$root=/build"
case $toolchain in
rustup)
    compiler=rustc; cargo=cargo; extra="" ;;
debian)
    compiler=/usr/bin/rustc; cargo=/usr/bin/cargo; extra="-Zbuild-std=std,panic_abort"
    flags="-C linker=wasm-ld-19 $flags" ;;
*)
    echo "CELLM_PLUGIN_TOOLCHAIN is '$toolchain', allowed: rustup, debian" >&2; exit 1 ;;
esac
version="$toolchain $($compiler --version)"

built=target/plugins
tools=""
if [ "${1:-}" = --tools ]; then
    tools=componentize
elif [ "${1:-}" = --check ]; then
    tools=componentize
    if [ "$version" != "$(cat $recorded)" ]; then
        echo "cannot check: the committed components were built by '$(cat $recorded)', here is '$version'" >&2
        exit 3
    fi
    built=$(mktemp -d)
    trap 'rm -rf "$built"' EXIT
elif [ -n "${1:-}" ]; then
    echo "usage: plugins/build.sh [--tools | --check]" >&2; exit 2
fi

# One call for all: what they share is compiled once.
packages=""
for name in $policies $fixtures; do packages="$packages -p cellm-$name"; done
# shellcheck disable=SC2086 # $packages and $extra are lists of words
RUSTC_BOOTSTRAP=1 RUSTC=$compiler RUSTFLAGS=$flags CARGO_INCREMENTAL=0 \
    $cargo build --locked --profile plugin --target $target --target-dir "$built" $extra $packages
if [ -n "$tools" ]; then
    # shellcheck disable=SC2086 # $extra is a list of words
    RUSTC_BOOTSTRAP=1 RUSTC=$compiler RUSTFLAGS=$flags CARGO_INCREMENTAL=0 \
        $cargo rustc --locked --profile plugin --target $target --target-dir "$built" $extra \
        -p cellm-$tools --lib --crate-type cdylib
fi
cargo build --locked --release --target-dir target/plugins -p cellm-componentize

differs=0
for name in $policies $tools $fixtures; do
    place=plugins/prebuilt/$name.wasm
    case " $fixtures " in *" $name "*) place=tests/fixtures/$name.wasm ;; esac
    target/plugins/release/cellm-componentize "$built/$target/plugin/cellm_$(echo "$name" | tr - _).wasm" "$built/$name.wasm"
    if [ "${1:-}" != --check ]; then
        mkdir -p "$(dirname "$place")"
        cp "$built/$name.wasm" "$place"
        echo "$place: $(wc -c < "$place") bytes"
    elif cmp -s "$built/$name.wasm" "$place"; then
        echo "$place: the same"
    else
        echo "$place: differs from what its source gives" >&2
        differs=1
    fi
done
[ "${1:-}" = --check ] || echo "$version" > $recorded
exit $differs
