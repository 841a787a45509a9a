//! Bindings that wasmtime generates from `wit/`: the records of both sides, the traits that the host implements for
//! its resources, and the callers of a policy's exports, the optional ones among them.

wasmtime::component::bindgen!({
    world: "everything",
    path: "wit",
    imports: { default: trappable },
    with: {
        "cellm:policy/host.codes": crate::policy::codes::Codes,
        "cellm:policy/host.index-set": crate::policy::index_set::IndexSet,
        "cellm:policy/host.message": crate::policy::message::MessageParts,
        "cellm:policy/host.vector": crate::policy::vector::Vector,
    },
});
