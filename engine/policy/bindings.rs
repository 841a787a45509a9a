//! Bindings that wasmtime generates from `wit/`: the records of both sides, the traits that the host implements for
//! its resources, and the callers of a policy's exports, the optional ones among them.

wasmtime::component::bindgen!({
    world: "everything",
    path: "wit",
    imports: { default: trappable },
    with: {
        "cellm:policy/host.codes": crate::policy::resources::Codes,
        "cellm:policy/host.index-set": crate::policy::resources::IndexSet,
        "cellm:policy/host.message": crate::policy::resources::MessageParts,
        "cellm:policy/host.vector": crate::policy::resources::Vector,
    },
});
