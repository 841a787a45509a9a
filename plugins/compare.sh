#!/bin/sh
# Runs every profile of configs/policies.toml on the demo and writes plugins/COMPARISON.md: what each policy reached, in
# bytes on the wire and in time. About half a minute a policy on two cores.
#
#   plugins/compare.sh [PROFILE...]     all of them, or these; finished ones in runs/policies/ are kept
set -eu
cd "$(dirname "$0")/.."
cellm=target/release/cellm
[ -x $cellm ] || { echo "build first: cargo build --release" >&2; exit 2; }
config=configs/policies.toml
profiles=${*:-$(sed -n 's/^\[profile\.\([a-z0-9-]*\)\]$/\1/p' $config)}
for profile in $profiles; do
    run=runs/policies/$profile
    [ -f "$run/summary.json" ] && continue
    rm -rf "$run"
    echo "$profile" >&2
    $cellm run --quiet --config $config --profile "$profile" --out "$run" --set "run.name=$profile" > /dev/null
done
table=plugins/COMPARISON.md
# shellcheck disable=SC2013 # a list of words
runs=$(for profile in $(sed -n 's/^\[profile\.\([a-z0-9-]*\)\]$/\1/p' $config); do
    [ ! -f "runs/policies/$profile/summary.json" ] || echo "runs/policies/$profile"
done)
# shellcheck disable=SC2086 # a list of directories without spaces
$cellm report $runs --baseline runs/policies/dense --to $table.rows.md
{
    echo "# Every policy on the demo"
    echo
    echo "Made by \`plugins/compare.sh\` from the profiles of \`configs/policies.toml\`: one seed, losses in nats a predicted token on"
    echo "the validation data of all clients, bytes with all framing, seconds of all rounds. No policy's settings were searched"
    echo "but those of \`dense\` and \`flasc\` (two or three server rates were tried for \`ecolora\` and \`contributor-mean\`):"
    echo "the table shows that each runs and what it costs, not which is best."
    echo "\`fedsa\` keeps B at each client, so the validation of the shared model sees B at zero: the base model. \`fedex\` and"
    echo "\`flora\` move every weight of the targets down, and their dense uploads carry zeros for it."
    echo
    cat $table.rows.md
} > $table
rm $table.rows.md
