//! Bytes that are no policy, or a damaged one: cut off, flipped, of another kind, version or origin.

use cellm::policy::PolicyError;

use crate::support::{HOST, HOSTILE, component, ordeal};

fn refused(name: &str, bytes: &[u8]) -> PolicyError {
    match ordeal(name, bytes) {
        Err(error) => error,
        Ok(()) => panic!("{name} went well"),
    }
}

/// The component with some of its bytes changed to others of the same length, wherever they are.
fn renamed(from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = HOSTILE.to_vec();
    for at in 0..bytes.len() - from.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
    bytes
}

#[test]
fn the_component_itself_behaves() {
    ordeal("itself", HOSTILE).unwrap();
    ordeal("none", &component("encode:none")).unwrap();
}

#[test]
fn a_component_cut_off_anywhere_is_refused() {
    let len = HOSTILE.len();
    let mut cuts: Vec<usize> = (0..20).collect();
    cuts.extend((1..40).map(|part| len * part / 40));
    cuts.extend(len - 20..len);
    for cut in cuts {
        let error = refused("cut.wasm", &HOSTILE[..cut]);
        assert!(matches!(error, PolicyError::NotAComponent { .. } | PolicyError::WrongWit { .. }), "{cut}: {error}");
        assert!(error.to_string().contains("cut.wasm"), "{error}");
    }
}

#[test]
fn a_component_with_more_behind_it_is_refused() {
    let error = refused("more.wasm", &[HOSTILE, b"more"].concat());
    assert!(matches!(error, PolicyError::NotAComponent { .. }), "{error}");
}

#[test]
fn other_kinds_of_bytes_are_told_apart() {
    assert!(refused("core", b"\0asm\x01\0\0\0").to_string().contains("core module"));
    assert!(refused("text", b"(component)").to_string().contains("11 bytes do not start as one"));
    assert!(refused("nothing", b"").to_string().contains("0 bytes"));
    assert!(refused("empty", b"\0asm\x0d\0\x01\0").to_string().contains("nothing of cellm:policy"));
    let core = HOSTILE.windows(8).position(|bytes| bytes == b"\0asm\x01\0\0\0").unwrap();
    assert!(refused("inner", &HOSTILE[core..]).to_string().contains("core module"));
    assert!(
        refused("long", &[b"\0asm\x0d\0\x01\0".as_slice(), &[0xff; 1 << 20]].concat()).to_string().contains("long")
    );
}

#[test]
fn a_component_that_would_take_for_ever_to_compile_is_not_even_read_to_its_end() {
    let giant = [HOSTILE, &vec![0; 4 << 20]].concat();
    assert!(matches!(refused("giant", &giant), PolicyError::TooLarge { limit: 4_194_304, .. }));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("giant.wasm");
    // A file of a tebibyte that takes no room on the disk.
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let error = HOST.load(&path.to_string_lossy()).unwrap_err();
    assert!(matches!(error, PolicyError::TooLarge { .. }), "{error}");
}

#[test]
fn foreign_imports_and_other_versions_are_named() {
    let error = refused("greedy.wasm", &renamed(b"cellm:policy/host", b"wasi:clocks/clock"));
    assert!(error.to_string().contains("greedy.wasm imports wasi:clocks/clock@0.1.0"), "{error}");
    let error = refused("new.wasm", &renamed(b"@0.1.0", b"@0.7.0"));
    assert!(error.to_string().contains("expected cellm:policy@0.1.1, found cellm:policy@0.7.0"), "{error}");
    let error = refused("odd.wasm", &renamed(b"top-k-chunked", b"top-k-clunked"));
    assert!(matches!(error, PolicyError::WrongWit { .. }), "{error}");
    let error = refused("mute.wasm", &renamed(b"cellm:policy/describing", b"cellm:policy/prescribin"));
    assert!(error.to_string().contains("describing"), "{error}");
}

/// Every test here runs a component of the interface as it was released first, on the one that this program has. A later one
/// of the same minor number runs as well, as long as it asks for nothing that is not there.
#[test]
fn components_of_other_patch_versions_run_or_are_told_what_they_need() {
    assert!(HOSTILE.windows(6).any(|name| name == b"@0.1.0"), "the fixture is of the first release");
    let later = renamed(b"@0.1.0", b"@0.1.9");
    ordeal("later.wasm", &later).unwrap();
    let (from, to) = (b"top-k-chunked", b"top-k-clunked");
    let mut asks = later;
    for at in 0..asks.len() - from.len() {
        if asks[at..].starts_with(from) {
            asks[at..at + to.len()].copy_from_slice(to);
        }
    }
    let error = refused("asks.wasm", &asks).to_string();
    assert!(
        error.contains("found cellm:policy@0.1.9 (newer than this program") && error.contains("clunked"),
        "{error}"
    );
}

/// One bit at a time. What still loads and runs may do anything but harm.
#[test]
fn a_flipped_bit_never_harms_the_host() {
    let mut survived = 0;
    for step in 0..60_usize {
        let bit = (step * 7919 + 13) * 101 % (HOSTILE.len() * 8);
        let mut bytes = HOSTILE.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        survived += u32::from(ordeal("flipped", &bytes).is_ok());
    }
    assert!(survived < 60, "no flip was noticed");
}
