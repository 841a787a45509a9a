//! `cellm client`: one client of a deployed federation.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;

use crate::federation::{self, Join};
use crate::pool::Task;
use crate::roster::Credentials;

use super::args::{Client, Verbosity};
use super::progress::{self, LOG};
use super::{Failure, config, logging, output, signals};

/// Takes part until the run is over; the exit code tells whether it came to that.
pub fn client(arguments: &Client, verbosity: Verbosity) -> Result<u8, Failure> {
    let credentials = Credentials::read(&arguments.credentials)?;
    let layers = config::layers(&arguments.sources)?;
    let loaded = layers.load()?;
    progress::fetch(&loaded.config.model, verbosity)?;
    let dir = match (&arguments.out, &loaded.config.run.out) {
        (Some(out), _) | (None, Some(out)) => out.clone(),
        (None, None) => PathBuf::from(format!("runs/client-{}", credentials.name)),
    };
    std::fs::create_dir_all(&dir).map_err(|error| Failure::file("make directory", &dir, error))?;
    let bar = progress::bar(verbosity);
    logging::start(&dir, verbosity, &bar)?;
    let quiet = verbosity.quiet;
    let say = Arc::new(move |text: String| {
        tracing::info!(target: LOG, "{text}");
        if !quiet {
            output::say(&text);
        }
    });
    let credentials = (arguments.credentials.clone(), credentials);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| Failure { code: 1, error: anyhow::Error::new(error).context("cannot start threads") })?;
    let joined = runtime.block_on(async {
        let (stop, stopped) = watch::channel(false);
        let signals = Task::start("the watch for signals", signals::watch_signals(stop, output::say));
        let joined = federation::join(Join { layers, loaded, credentials, dir: dir.clone(), say }, stopped).await;
        drop(signals);
        joined
    });
    // Training that nobody wants any more has nothing to say.
    runtime.shutdown_background();
    finish(&joined?, &dir, verbosity)
}

fn finish(joined: &federation::Joined, dir: &Path, verbosity: Verbosity) -> Result<u8, Failure> {
    if verbosity.json {
        let object = serde_json::to_value(joined).map_err(|error| Failure { code: 1, error: error.into() })?;
        output::print_json(&object)?;
    } else if !joined.interrupted {
        output::print(&format!("the run is over; {} updates of {} are in it\n", joined.uploads, joined.client))?;
    }
    if joined.interrupted {
        output::say(&format!("stopped; to take part again, give the same command: its state is in {}", dir.display()));
        return Ok(signals::INTERRUPTED);
    }
    Ok(0)
}
