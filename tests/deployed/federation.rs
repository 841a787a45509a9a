//! A federation of processes in a folder of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The longest that anything may take, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(240);

/// True where a nats-server can be started; says so where not.
pub fn broker_is_there() -> bool {
    let found = ["nats-server", "/usr/sbin/nats-server"]
        .iter()
        .any(|program| Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok());
    if !found {
        eprintln!("skipped: there is no nats-server (Debian: apt install nats-server)");
    }
    found
}

/// A federation's folder: enrolment, data, config.
pub struct Deployed {
    dir: tempfile::TempDir,
    address: String,
}

impl Deployed {
    /// Enrols the clients, writes their data and the config with `set` over it.
    pub fn new(clients: &[&str], set: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let deployed = Self { dir, address: format!("127.0.0.1:{port}") };
        deployed.enroll(&["init"]);
        let mut all = String::new();
        for name in clients {
            deployed.enroll(&["add", name]);
            let rows = rows(name);
            all.push_str(&rows);
            fs::write(deployed.path(&format!("{name}.jsonl")), rows).unwrap();
        }
        fs::write(deployed.path("all.jsonl"), all).unwrap();
        let mut config = format!(
            "run.rounds = 4\nrun.seed = 3\nserver.cohort = {}\nclient.steps = 2\nclient.batch = 2\nlink.enrolment = {:?}\nlink.listen = {:?}\n",
            clients.len(),
            deployed.path("fed"),
            deployed.address
        );
        for line in set {
            let (key, value) = line.split_once('=').unwrap();
            let known = format!("{key} = ");
            let quoted = value.parse::<f64>().is_ok() || value.starts_with('[') || matches!(value, "true" | "false");
            let value = if quoted { value.to_owned() } else { format!("{value:?}") };
            config = config.lines().filter(|line| !line.starts_with(&known)).map(|line| format!("{line}\n")).collect();
            config.push_str(&format!("{key} = {value}\n"));
        }
        fs::write(deployed.path("fed.toml"), config).unwrap();
        deployed
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// `cellm enroll WORD fed ...`.
    pub fn enroll(&self, words: &[&str]) {
        let [word, rest @ ..] = words else { panic!("no word") };
        let output = cellm().arg("enroll").arg(word).arg(self.path("fed")).args(rest).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn server(&self, more: &[&str]) -> Process {
        let mut command = cellm();
        command.arg("server").arg("--out").arg(self.path("server")).args(more);
        if !more.contains(&"--resume") {
            command.arg("--config").arg(self.path("fed.toml"));
        }
        Process::start(command, self.path("server.err"))
    }

    /// A client that trains on its own file.
    pub fn client(&self, name: &str, set: &[&str]) -> Process {
        self.client_in(name, &format!("client-{name}"), set)
    }

    pub fn client_in(&self, name: &str, out: &str, set: &[&str]) -> Process {
        let data = format!("data.path={}", self.path(&format!("{name}.jsonl")).display());
        self.begin(name, out, &[&[data.as_str()], set].concat())
    }

    /// A client with these settings and no others.
    pub fn client_with(&self, name: &str, set: &[&str]) -> Process {
        self.begin(name, &format!("client-{name}"), set)
    }

    fn begin(&self, name: &str, out: &str, set: &[&str]) -> Process {
        let mut command = cellm();
        command.arg("client").arg("--credentials").arg(self.path(&format!("fed/{name}.creds")));
        command.arg("--out").arg(self.path(out));
        for set in set {
            command.arg("--set").arg(set);
        }
        Process::start(command, self.path(&format!("{out}.err")))
    }

    pub fn kill_broker(&self) {
        let pid = fs::read_to_string(self.path("fed/broker/nats.pid")).unwrap();
        assert!(Command::new("kill").args(["-9", pid.trim()]).status().unwrap().success());
    }

    pub fn waits_for_broker(&self) {
        within("the broker", || std::net::TcpStream::connect(&self.address).is_ok());
    }

    pub fn adapter_hash(&self) -> String {
        hash(&self.path("server"))
    }

    pub fn client_rows(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.path("server/clients.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Deployed {
    fn drop(&mut self) {
        if let Ok(pid) = fs::read_to_string(self.path("fed/broker/nats.pid")) {
            drop(Command::new("kill").args(["-9", pid.trim()]).stderr(Stdio::null()).status());
        }
    }
}

/// The adapter of the same federation in one process.
pub fn simulated(deployed: &Deployed, _set: &[&str]) -> String {
    let out = deployed.path("simulated");
    let mut command = cellm();
    command.arg("run").arg("-q").arg("--config").arg(deployed.path("fed.toml")).arg("--out").arg(&out);
    let data = format!("data.path={}", deployed.path("all.jsonl").display());
    for set in [data.as_str(), "partition.by=site", "partition.clients=0"] {
        command.arg("--set").arg(set);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    hash(&out)
}

fn hash(run: &Path) -> String {
    let summary = fs::read_to_string(run.join("summary.json")).unwrap();
    serde_json::from_str::<serde_json::Value>(&summary).unwrap()["adapter_hash"].as_str().unwrap().to_owned()
}

/// Records of one site; of no two the same.
fn rows(site: &str) -> String {
    let words = ["king", "queen", "ship", "storm", "love", "night", "sword", "crown", "river", "fool", "speak", "come"];
    let mut state = site.bytes().fold(7_u32, |state, byte| state.wrapping_mul(31).wrapping_add(byte.into()));
    let mut word = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        words[(state >> 16) as usize % words.len()]
    };
    let count = 12 + 3 * site.len();
    let row = |_| {
        let text: Vec<&str> = (0..30).map(|_| word()).collect();
        format!("{}\n", serde_json::json!({ "text": text.join(" "), "site": site }))
    };
    (0..count).map(row).collect()
}

fn cellm() -> Command {
    Command::new(env!("CARGO_BIN_EXE_cellm"))
}

fn within(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "{what} did not come in {PATIENCE:?}");
        sleep(Duration::from_millis(20));
    }
}

/// A process whose words go to a file.
pub struct Process {
    child: Child,
    words: PathBuf,
    /// Bytes of them that were read already.
    read: usize,
}

impl Process {
    fn start(mut command: Command, words: PathBuf) -> Self {
        let file = File::options().create(true).append(true).open(&words).unwrap();
        let read = fs::metadata(&words).unwrap().len() as usize;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Self { child, words, read }
    }

    /// What it has said since it was started.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.words).unwrap()[self.read..]).into_owned()
    }

    pub fn waits_for(&mut self, text: &str) {
        let began = Instant::now();
        while !self.said().contains(text) {
            if let Some(ended) = self.child.try_wait().unwrap() {
                assert!(self.said().contains(text), "ended ({ended}) before it said {text:?}:\n{}", self.said());
            }
            assert!(began.elapsed() < PATIENCE, "{text:?} was not said:\n{}", self.said());
            sleep(Duration::from_millis(5));
        }
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn ends_with(&mut self, code: i32) {
        let began = Instant::now();
        loop {
            if let Some(ended) = self.child.try_wait().unwrap() {
                assert_eq!(ended.code(), Some(code), "{}", self.said());
                return;
            }
            assert!(began.elapsed() < PATIENCE, "it did not end:\n{}", self.said());
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
