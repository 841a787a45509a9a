//! What wasmtime generates from `wit/`: the records of both sides, the traits that the host implements for its
//! resources, and the callers of a policy's exports.

wasmtime::component::bindgen!({
    world: "policy",
    path: "wit",
    imports: { default: trappable },
    with: {
        "cellm:policy/host.index-set": crate::policy::index_set::IndexSet,
        "cellm:policy/host.message": crate::policy::message::MessageParts,
        "cellm:policy/host.vector": crate::policy::vector::Vector,
    },
});
