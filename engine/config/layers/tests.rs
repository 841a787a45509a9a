//! Tests of the layers: who wins, what is refused, what the messages say.

use super::*;

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.toml");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

fn set(texts: &[&str]) -> Vec<Override> {
    texts.iter().map(|text| Override::parse(text).unwrap()).collect()
}

fn refused(layers: &Layers) -> String {
    layers.load().unwrap_err().to_string()
}

#[test]
fn the_defaults_alone_are_valid_and_equal_the_structs() {
    let loaded = Layers::default().load().unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.origin("server.cohort"), "default");
}

#[test]
fn each_layer_wins_over_those_below_it_and_is_named_as_origin() {
    let (_one, low) =
        file("[run]\nseed = 2\nrounds = 3\nname = \"low\"\n[profile.fast.run]\nrounds = 5\nthreads = 1\n");
    let (_two, high) = file("[run]\nname = \"high\"\nrounds = 4\n");
    let layers = Layers {
        tables: Vec::new(),
        files: vec![low, high],
        profile: Some("fast".into()),
        environment: vec![("CELLM_RUN__THREADS".into(), "2".into()), ("CELLM_SERVER__COHORT".into(), "6".into())],
        overrides: set(&["server.cohort=7"]),
    };
    let loaded = layers.load().unwrap();
    let run = &loaded.config.run;
    assert_eq!((run.seed, run.rounds, run.threads, run.name.as_str()), (2, 5, 2, "high"));
    assert_eq!(loaded.config.server.cohort, 7);
    assert!(loaded.origin("run.seed").ends_with("test.toml, line 2"), "{}", loaded.origin("run.seed"));
    let rounds = loaded.origin("run.rounds");
    assert!(rounds.starts_with("profile fast in ") && rounds.ends_with("line 6"), "{rounds}");
    assert_eq!(loaded.origin("run.threads"), "environment CELLM_RUN__THREADS");
    assert_eq!(loaded.origin("server.cohort"), "--set");
    assert!(loaded.is_default("server.lr"));
}

#[test]
fn an_unknown_key_names_the_file_the_line_and_the_nearest_key() {
    let (_dir, path) = file("[run]\nseed = 1\n\n[server]\ncohrt = 3\n");
    let error = refused(&Layers { files: vec![path], ..Layers::default() });
    assert!(error.contains("`server.cohrt`") && error.contains("test.toml, line 5"), "{error}");
    assert!(error.ends_with("did you mean `server.cohort`?"), "{error}");
    let error = refused(&Layers { overrides: set(&["uplod.density=1"]), ..Layers::default() });
    assert!(error.contains("--set") && error.contains("`upload.density`"), "{error}");
    let environment = vec![("CELLM_SERVER__LRR".to_owned(), "1".to_owned())];
    let error = refused(&Layers { environment, ..Layers::default() });
    assert!(error.contains("CELLM_SERVER__LRR") && error.contains("`server.lr`"), "{error}");
}

#[test]
fn an_unknown_key_in_a_profile_that_is_not_chosen_is_refused_too() {
    let (_dir, path) = file("[profile.a.run]\nsede = 1\n");
    let error = refused(&Layers { files: vec![path], ..Layers::default() });
    assert!(error.contains("profile a in") && error.contains("line 2") && error.contains("run.seed"), "{error}");
}

#[test]
fn an_unknown_profile_lists_the_known_ones() {
    let (_dir, path) = file("[profile.fast.run]\nseed = 1\n[profile.slow.run]\nseed = 2\n");
    let error = refused(&Layers { files: vec![path], profile: Some("quick".into()), ..Layers::default() });
    assert!(error.contains("`quick`") && error.contains("fast, slow"), "{error}");
}

#[test]
fn a_missing_file_and_a_syntax_error_are_named() {
    let error = refused(&Layers { files: vec!["/nowhere/x.toml".into()], ..Layers::default() });
    assert!(error.contains("/nowhere/x.toml"), "{error}");
    let (_dir, path) = file("[run]\nseed = \n");
    let error = refused(&Layers { files: vec![path], ..Layers::default() });
    assert!(error.contains("test.toml, line 2"), "{error}");
}

#[test]
fn a_wrong_type_names_key_place_found_and_expected() {
    let (_dir, path) = file("[run]\nrounds = \"many\"\n");
    let error = refused(&Layers { files: vec![path], ..Layers::default() });
    assert!(error.contains("run.rounds") && error.contains("many") && error.contains("line 2"), "{error}");
    let error = refused(&Layers { overrides: set(&["server.optimizer=adamm"]), ..Layers::default() });
    assert!(error.contains("server.optimizer") && error.contains("adamm") && error.contains("fedadam"), "{error}");
    let error = refused(&Layers { overrides: set(&["upload.bits=5"]), ..Layers::default() });
    assert!(error.contains("upload.bits") && error.contains('5') && error.contains("32"), "{error}");
}

#[test]
fn environment_text_fits_text_keys_and_a_single_underscore_is_not_ignored() {
    let environment = vec![("CELLM_RUN__NAME".to_owned(), "123".to_owned()), ("PATH".into(), "x".into())];
    let loaded = Layers { environment, ..Layers::default() }.load().unwrap();
    assert_eq!(loaded.config.run.name, "123");
    let environment = vec![("CELLM_RUN_SEED".to_owned(), "3".to_owned())];
    let error = refused(&Layers { environment, ..Layers::default() });
    assert!(error.contains("CELLM_RUN__SEED"), "{error}");
}

#[test]
fn options_of_a_policy_are_free() {
    let loaded = Layers { overrides: set(&["upload.options.decay=0.5", "upload.options.a.b=x"]), ..Layers::default() };
    let options = loaded.load().unwrap().config.upload.options;
    assert_eq!(options["decay"], 0.5);
    assert_eq!(options["a"]["b"], "x");
}

#[test]
fn a_set_without_section_or_equals_is_refused() {
    for text in ["run.seed", "seed=1", ".=1", "run.=2"] {
        assert!(Override::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_bad_value_is_named_with_its_origin() {
    let error = refused(&Layers { overrides: set(&["upload.density=0"]), ..Layers::default() });
    assert_eq!(error, "upload.density is 0, it must be in (0, 1] (--set)");
}

#[test]
fn the_configs_that_are_shipped_load_with_each_of_their_profiles() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "toml") {
            files += 1;
            let profiles = File::read(&path).unwrap().profiles;
            for profile in std::iter::once(None).chain(profiles.into_iter().map(|(name, _)| Some(name))) {
                let layers = Layers { files: vec![path.clone()], profile, ..Layers::default() };
                layers.load().unwrap_or_else(|error| panic!("{error}"));
            }
        }
    }
    assert!(files >= 3);
}

#[test]
fn the_demo_config_is_the_default_config() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/demo.toml");
    let loaded = Layers { files: vec![demo], ..Layers::default() }.load().unwrap();
    assert_eq!(loaded.config, Config::default());
}
