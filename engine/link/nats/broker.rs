//! The server's own broker: a `nats-server` from the PATH, with the TLS and the rights of the enrolment. It is started again when
//! it ends, and outlives a server that is killed: the next one goes on with it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::subjects::Subjects;
use crate::link::LinkError;
use crate::pool::Task;
use crate::roster::{Enrolment, EnrolmentError};

const PROGRAM: &str = "nats-server";
/// Debian puts it where only root's PATH looks.
const ALSO: &str = "/usr/sbin/nats-server";
/// The pause before a broker that has ended is started again.
const PAUSE: Duration = Duration::from_millis(500);

/// A broker that this process looks after.
pub struct Broker {
    files: Files,
    /// None where an earlier server started it.
    watch: Option<Task<()>>,
}

/// The broker's files in the enrolment's folder.
#[derive(Clone)]
struct Files {
    program: PathBuf,
    config: PathBuf,
    pid: PathBuf,
    log: PathBuf,
}

impl Broker {
    /// Starts it on `listen`, or takes over the one that an earlier server left there.
    ///
    /// # Errors
    /// [`LinkError::Process`] where there is none to start, or it ends at once.
    pub async fn start(enrolment: &Enrolment, listen: &str, names: Vec<String>) -> Result<Self, LinkError> {
        let dir = enrolment.dir().join("broker");
        let of = |error: EnrolmentError| LinkError::Process(error.to_string());
        let file = |error: std::io::Error| LinkError::Process(format!("{}: {error}", dir.display()));
        std::fs::create_dir_all(&dir).map_err(file)?;
        let dir = dir.canonicalize().map_err(file)?;
        let [config, pid, log] = ["nats.conf", "nats.pid", "nats.log"].map(|name| dir.join(name));
        let files = Files { program: program(), config, pid, log };
        let left = files.running();
        if left.is_none() {
            let (certificate, key) = enrolment.broker_certificate(names).map_err(of)?;
            write(&dir.join("broker.pem"), &certificate).map_err(file)?;
            write(&dir.join("broker.key"), &key).map_err(file)?;
        }
        write(&files.config, &config_text(enrolment, listen, &dir).map_err(of)?).map_err(file)?;
        let watch = match left {
            Some(pid) => {
                files.signal("reload", pid).await;
                None
            }
            None => {
                let child = files.spawn().await?;
                Some(Task::start("the watch on the broker", keep_up(files.clone(), child)))
            }
        };
        Ok(Self { files, watch })
    }

    /// Makes the enrolment's present members the ones that have rights.
    ///
    /// # Errors
    /// Files that cannot be read or written.
    pub async fn reload(&self, enrolment: &Enrolment, listen: &str) -> Result<(), LinkError> {
        let dir = self.files.config.parent().unwrap_or(Path::new("."));
        let text = config_text(enrolment, listen, dir).map_err(|error| LinkError::Process(error.to_string()))?;
        if std::fs::read_to_string(&self.files.config).is_ok_and(|before| before == text) {
            return Ok(());
        }
        write(&self.files.config, &text).map_err(|error| LinkError::Process(error.to_string()))?;
        if let Some(pid) = self.files.running() {
            self.files.signal("reload", pid).await;
        }
        Ok(())
    }

    /// Ends it.
    pub async fn stop(mut self) {
        drop(self.watch.take());
        if let Some(pid) = self.files.running() {
            self.files.signal("quit", pid).await;
        }
    }
}

impl Files {
    async fn spawn(&self) -> Result<Child, LinkError> {
        let failed = |reason: String| LinkError::Process(reason);
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(&self.config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // A Ctrl-C is for the server, which ends it when its clients have heard.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => failed(
                "there is none on the PATH to start: install it (Debian: apt install nats-server), or give link.url"
                    .into(),
            ),
            _ => failed(format!("{}: {error}", self.program.display())),
        })?;
        // One that cannot listen or read its config ends at once.
        match tokio::time::timeout(Duration::from_millis(300), child.wait()).await {
            Err(_) => Ok(child),
            Ok(_) => {
                let log = std::fs::read_to_string(&self.log).unwrap_or_default();
                let reason = log.lines().rev().find(|line| line.contains("[FTL]") || line.contains("[ERR]"));
                let output = child.wait_with_output().await.map(|output| output.stderr).unwrap_or_default();
                let output = String::from_utf8_lossy(&output).trim().to_owned();
                let reason = reason.map(str::to_owned).filter(|_| output.is_empty()).unwrap_or(output);
                Err(failed(format!("it ended at once: {reason}")))
            }
        }
    }

    /// The process that an earlier server started with this very config.
    fn running(&self) -> Option<u32> {
        let pid: u32 = std::fs::read_to_string(&self.pid).ok()?.trim().parse().ok()?;
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let config = self.config.to_str()?;
        String::from_utf8_lossy(&line).split('\0').any(|word| word == config).then_some(pid)
    }

    async fn signal(&self, signal: &str, pid: u32) {
        let mut command = Command::new(&self.program);
        command.arg("--signal").arg(format!("{signal}={pid}")).stdout(Stdio::null()).stderr(Stdio::null());
        if let Err(error) = command.status().await {
            tracing::warn!("nats-server --signal {signal}: {error}");
        }
    }
}

/// Starts the broker again whenever it ends.
async fn keep_up(files: Files, mut child: Child) {
    loop {
        let ended = child.wait().await;
        tracing::warn!(
            "the broker ended ({}) and is started again",
            ended.map_or_else(|error| error.to_string(), |status| status.to_string())
        );
        child = loop {
            tokio::time::sleep(PAUSE).await;
            match files.spawn().await {
                Ok(child) => break child,
                Err(error) => tracing::warn!("{error}"),
            }
        };
    }
}

fn program() -> PathBuf {
    let on_path = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(PROGRAM).is_file()));
    if !on_path && Path::new(ALSO).is_file() { ALSO.into() } else { PROGRAM.into() }
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}

/// The broker's config: everything over TLS, a user for the server, one for each client that is not revoked.
fn config_text(enrolment: &Enrolment, listen: &str, dir: &Path) -> Result<String, EnrolmentError> {
    let subjects = Subjects::new(enrolment.id());
    let (_, server) = enrolment.server_key()?;
    let quoted = |text: &str| format!("{text:?}");
    let path = |name: &str| quoted(&dir.join(name).display().to_string());
    let list = |subjects: &[String]| subjects.iter().map(|subject| quoted(subject)).collect::<Vec<_>>().join(", ");
    let mut text = format!(
        "# Written by cellm: what is changed here is lost.\n\
         listen: {}\nserver_name: {}\npid_file: {}\nlog_file: {}\nmax_connections: 65536\n\
         jetstream {{ store_dir: {} }}\n\
         tls {{ cert_file: {}, key_file: {}, timeout: 5 }}\n\
         authorization {{\n  users: [\n    {{ nkey: {server} }}\n",
        quoted(listen),
        quoted(enrolment.id()),
        path("nats.pid"),
        path("nats.log"),
        path("store"),
        path("broker.pem"),
        path("broker.key"),
    );
    for member in enrolment.members().iter().filter(|member| !member.revoked) {
        let (publish, subscribe) = (subjects.may_publish(&member.name), subjects.may_subscribe(&member.name));
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "    {{ nkey: {}, permissions: {{ publish: [{}], subscribe: [{}] }} }}",
            member.key,
            list(&publish),
            list(&subscribe)
        );
    }
    text.push_str("  ]\n}\n");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brokers_config_gives_each_client_its_own_rights_and_a_revoked_one_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut enrolment = Enrolment::init(dir.path(), "localhost:4222").unwrap();
        for name in ["a", "b"] {
            enrolment.add(name, 0).unwrap();
        }
        let both = config_text(&enrolment, "0.0.0.0:4222", dir.path()).unwrap();
        let own = format!("cellm.{}.ctl.", enrolment.id());
        assert!(both.contains(&format!("{own}a")) && both.contains(&format!("{own}b")), "{both}");
        enrolment.revoke("a").unwrap();
        let one = config_text(&enrolment, "0.0.0.0:4222", dir.path()).unwrap();
        assert!(!one.contains(&format!("{own}a")) && one.contains(&format!("{own}b")), "{one}");
        assert!(!one.contains(&enrolment.server_key().unwrap().0), "the server's seed is in the broker's config");
    }
}
