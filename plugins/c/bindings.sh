#!/bin/sh
# Generates the C bindings of the worlds `compressor` and `aggregator` from wit/policy.wit into plugins/c/.
#
#   plugins/c/bindings.sh           write them
#   plugins/c/bindings.sh --check   fail if what is there is not what the WIT gives
#
# Needs wit-bindgen in exactly this version: cargo install wit-bindgen-cli --version 0.61.1
set -eu
cd "$(dirname "$0")/../.."
version=0.61.1
tool=${WIT_BINDGEN:-wit-bindgen}

if ! command -v "$tool" >/dev/null; then
    echo "no wit-bindgen; cargo install wit-bindgen-cli --version $version" >&2; exit 3
fi
found=$("$tool" --version | cut -d' ' -f2)
if [ "$found" != "$version" ]; then
    echo "wit-bindgen is $found, wanted $version" >&2; exit 3
fi

package=cellm:policy
wit_version=$(sed -n "s/^package $package@\(.*\);/\1/p" wit/policy.wit)
# Short names: host_method_vector_top_k in place of cellm_policy_host_method_vector_top_k.
names=""
for interface in types host algebra describing compressing aggregating; do
    names="$names --rename $package/$interface@$wit_version=$interface"
done
for world in compressor aggregator; do
    # shellcheck disable=SC2086 # $names is a list of words
    "$tool" c wit -w $world --rename-world policy $names --autodrop-borrows yes --out-dir plugins/c/$world "$@"
done
# What they were made from, so that a test without the tool can tell when they are out of date.
[ $# -gt 0 ] || cp wit/policy.wit plugins/c/policy.wit
