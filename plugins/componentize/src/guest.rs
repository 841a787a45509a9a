//! The crate as a component: see `componentize.wit`.

wit_bindgen::generate!({ world: "componentize", path: "componentize.wit" });

struct Component;

impl Guest for Component {
    fn componentize(module: Vec<u8>) -> Result<Vec<u8>, String> {
        crate::componentize(&module)
    }
}

export!(Component);
