//! The output of wit-bindgen for each exported interface: the trait `Guest` and the macro that exports a type that has it.

/// Exports `describing`.
pub mod describing {
    wit_bindgen::generate!({
        inline: "package cellm:sdk-describing; world describing-alone { export cellm:policy/describing@0.1.1; }",
        path: "../../wit",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_describing",
        with: {
            "cellm:policy/types@0.1.1": crate::bindings::cellm::policy::types,
        },
    });
}

/// Exports `compressing`.
pub mod compressing {
    wit_bindgen::generate!({
        inline: "package cellm:sdk-compressing; world compressing-alone { export cellm:policy/compressing@0.1.1; }",
        path: "../../wit",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_compressing",
        with: {
            "cellm:policy/types@0.1.1": crate::bindings::cellm::policy::types,
            "cellm:policy/host@0.1.1": crate::bindings::cellm::policy::host,
        },
    });
}

/// Exports `aggregating`.
pub mod aggregating {
    wit_bindgen::generate!({
        inline: "package cellm:sdk-aggregating; world aggregating-alone { export cellm:policy/aggregating@0.1.1; }",
        path: "../../wit",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_aggregating",
        with: {
            "cellm:policy/types@0.1.1": crate::bindings::cellm::policy::types,
            "cellm:policy/host@0.1.1": crate::bindings::cellm::policy::host,
        },
    });
}

/// Exports `planning`.
pub mod planning {
    wit_bindgen::generate!({
        inline: "package cellm:sdk-planning; world planning-alone { export cellm:policy/planning@0.1.1; }",
        path: "../../wit",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_plans",
        with: {
            "cellm:policy/types@0.1.1": crate::bindings::cellm::policy::types,
            "cellm:policy/host@0.1.1": crate::bindings::cellm::policy::host,
        },
    });
}

/// Exports `acknowledging`.
pub mod acknowledging {
    wit_bindgen::generate!({
        inline: "package cellm:sdk-acknowledging; world acknowledging-alone { export cellm:policy/acknowledging@0.1.1; }",
        path: "../../wit",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_acknowledges",
        with: {
            "cellm:policy/types@0.1.1": crate::bindings::cellm::policy::types,
        },
    });
}

/// Exports `catching-up`.
pub mod catching_up {
    wit_bindgen::generate!({
        inline: "package cellm:sdk-catching-up; world catching-up-alone { export cellm:policy/catching-up@0.1.1; }",
        path: "../../wit",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_catches_up",
        with: {
            "cellm:policy/types@0.1.1": crate::bindings::cellm::policy::types,
            "cellm:policy/host@0.1.1": crate::bindings::cellm::policy::host,
        },
    });
}

/// Exports `stepping`.
pub mod stepping {
    wit_bindgen::generate!({
        inline: "package cellm:sdk-stepping; world stepping-alone { export cellm:policy/stepping@0.1.1; }",
        path: "../../wit",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_steps",
        with: {
            "cellm:policy/types@0.1.1": crate::bindings::cellm::policy::types,
            "cellm:policy/host@0.1.1": crate::bindings::cellm::policy::host,
        },
    });
}
