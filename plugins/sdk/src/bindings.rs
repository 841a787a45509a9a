//! The plain types of `wit/policy.wit`, on every target, and on wasm the host's functions.

#[cfg(not(target_arch = "wasm32"))]
wit_bindgen::generate!({
    inline: "package cellm:sdk; world imports { import cellm:policy/types@0.1.1; }",
    path: "../../wit",
    generate_all,
    additional_derives: [PartialEq],
});

#[cfg(target_arch = "wasm32")]
wit_bindgen::generate!({
    inline: "package cellm:sdk; world imports { import cellm:policy/types@0.1.1; import cellm:policy/host@0.1.1; import cellm:policy/algebra@0.1.1; }",
    path: "../../wit",
    generate_all,
    additional_derives: [PartialEq],
    additional_derives_ignore: ["decomposition"],
});
