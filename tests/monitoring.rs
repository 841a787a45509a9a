//! `configs/monitoring` against the real tools: `promtool` checks the files, a real Prometheus scrapes the endpoint with
//! our rules and answers every query of the dashboard. Tests that need a tool that is not installed say so and pass.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cellm::metrics::{Exporter, Hook, Metrics, names};
use cellm::pool::Task;
use serde_json::Value;
use tempfile::TempDir;

/// Longest time of a Prometheus and a run together, on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(180);

fn monitoring() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/monitoring")
}

fn installed(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("skipped: {tool} is not installed (Debian: apt-get install prometheus)");
    }
    found
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The body of an answer with status 200.
fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        _ => Err(io::Error::other(answer)),
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// Asks until the answer is there or the deadline has passed.
fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(missing) if start.elapsed() > DEADLINE => panic!("{what} after {DEADLINE:?}: {missing}"),
            Err(_) => thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// A child that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Prometheus {
    address: SocketAddr,
    _process: Running,
    _dir: TempDir,
}

impl Prometheus {
    /// A Prometheus with our configuration and rules, that scrapes `target` every second.
    fn scraping(target: SocketAddr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = fs::read_to_string(monitoring().join("prometheus.yml")).unwrap();
        let ours = config.replace(": 15s", ": 1s").replace("host.docker.internal:9464", &target.to_string());
        assert!(ours.contains("scrape_interval: 1s") && ours.contains(&target.to_string()));
        fs::write(dir.path().join("prometheus.yml"), ours).unwrap();
        fs::copy(monitoring().join("rules.yml"), dir.path().join("rules.yml")).unwrap();
        let address = free_address();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", dir.path().join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .spawn()
            .unwrap();
        let prometheus = Self { address, _process: Running(process), _dir: dir };
        wait_for("prometheus is not ready", || get(address, "/-/ready").map_err(|error| error.to_string()));
        prometheus
    }

    fn ask(&self, path: &str) -> Value {
        let answer: Value = serde_json::from_str(&get(self.address, path).unwrap()).unwrap();
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// True where the query has a sample that is a number.
    fn has_data(&self, query: &str) -> bool {
        let data = self.ask(&format!("/api/v1/query?query={}", percent_encoded(query)));
        let samples = data["result"].as_array().unwrap();
        samples.iter().any(|sample| sample["value"][1].as_str().unwrap().parse::<f64>().unwrap().is_finite())
    }

    /// Waits until every query of the dashboard has data; `alive` says why waiting is in vain.
    fn answers_the_dashboard(&self, mut alive: impl FnMut()) {
        let mut open = queries();
        assert!(open.len() > 20);
        wait_for("queries of the dashboard without data", || {
            alive();
            open.retain(|(_, query)| !self.has_data(query));
            if open.is_empty() { Ok(()) } else { Err(format!("{open:#?}")) }
        });
        let groups = self.ask("/api/v1/rules")["groups"].clone();
        let rules: Vec<_> =
            groups.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
        assert!(rules.len() > 5 && rules.iter().all(|rule| rule["health"] == "ok"), "{rules:#?}");
    }
}

fn dashboard() -> Value {
    let path = monitoring().join("grafana/dashboards/cellm.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Title and expression of every query, with Grafana's variables filled in.
fn queries() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap().replace("$instance", ".*").replace("$__rate_interval", "1m");
            assert!(!query.contains('$'), "{query} has a variable that this test does not know");
            queries.push((panel["title"].as_str().unwrap().to_owned(), query));
        }
    }
    queries
}

/// The words of a text that can be metric names of ours or recording rules.
fn names_in(text: &str) -> Vec<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    words.filter(|word| word.starts_with("cellm_") || word.starts_with("cellm:")).collect()
}

fn promtool(arguments: &[&str], input: &str) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .current_dir(monitoring())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {arguments:?}: {text}");
}

#[test]
fn the_dashboard_and_the_rules_use_names_that_exist() {
    let rules = fs::read_to_string(monitoring().join("rules.yml")).unwrap();
    let recorded: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).collect();
    let own: Vec<_> =
        names::OWN.iter().chain(&names::PROCESS).map(|name| format!("{}_{name}", names::PREFIX)).collect();
    let exists = |name: &str| {
        let stem = ["_bucket", "_sum", "_count"].into_iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        recorded.contains(&name) || own.iter().any(|known| known == name || known == stem)
    };
    let queries = queries();
    for (place, text) in
        queries.iter().map(|(title, query)| (title.as_str(), query.as_str())).chain([("rules", &*rules)])
    {
        for name in names_in(text) {
            assert!(exists(name), "{place}: {name} does not exist");
        }
    }
    for name in recorded {
        assert!(queries.iter().any(|(_, query)| query.contains(name)), "no panel shows {name}");
    }
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit_from_the_chosen_data_source() {
    for panel in dashboard()["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(!panel["description"].as_str().unwrap().is_empty(), "{title} has no description");
        assert!(!panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap().is_empty(), "{title} has no unit");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        for target in panel["targets"].as_array().unwrap() {
            assert!(
                target["expr"].as_str().unwrap().contains("instance=~\"$instance\""),
                "{title} shows every instance"
            );
        }
    }
}

#[test]
fn promtool_accepts_the_configuration_and_the_rules_do_what_they_say() {
    if installed("promtool") {
        promtool(&["check", "config", "prometheus.yml"], "");
        promtool(&["check", "rules", "rules.yml"], "");
        promtool(&["test", "rules", "rules_test.yml"], "");
    }
}

/// One more made-up round.
fn work(metrics: &Metrics, round: u32) {
    for direction in [&metrics.download, &metrics.upload] {
        direction.bytes.add(1_000, 8_000, 10, 64);
        direction.frames.inc();
        direction.dense_equivalent_bytes.inc_by(64_000);
        direction.encode_seconds.observe(0.002);
        direction.decode_seconds.observe(0.001);
    }
    metrics.clients.completed.inc_by(8);
    metrics.training_steps.inc_by(64);
    metrics.training_tokens.inc_by(30_000);
    metrics.training_seconds.observe(0.8);
    metrics.policy("flasc").call_seconds(Hook::Encode).observe(0.001);
    metrics.journal_bytes.set(1 << 20);
    metrics.journal_commit_seconds.observe(0.004);
    for gauge in [&metrics.train_loss, &metrics.eval_loss, &metrics.eval_loss_dense_copy, &metrics.update_norm] {
        gauge.set(3.0 / f64::from(round));
    }
    metrics.round_closed(round, 0.2);
}

#[test]
fn every_query_of_the_dashboard_has_data_for_made_up_rounds() {
    if !installed("prometheus") || !installed("promtool") {
        return;
    }
    let metrics = Arc::new(Metrics::new());
    metrics.rounds_planned.set(1_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let exporter = runtime.block_on(Exporter::bind("127.0.0.1:0")).unwrap();
    let address = exporter.address();
    let serving = exporter.serve(metrics.clone(), std::future::pending());
    let _served = runtime.block_on(async { Task::start("the metrics endpoint", serving) });
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in (1..).take_while(|_| !done.load(Ordering::Relaxed)) {
                work(&metrics, round);
                thread::sleep(Duration::from_millis(100));
            }
        });
        let answered = std::panic::catch_unwind(|| Prometheus::scraping(address).answers_the_dashboard(|| {}));
        done.store(true, Ordering::Relaxed);
        answered.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    promtool(&["check", "metrics"], &get(address, "/metrics").unwrap());
}

#[test]
fn every_query_of_the_dashboard_has_data_on_a_real_run() {
    if !installed("prometheus") || !installed("promtool") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("stderr");
    let address = free_address();
    let mut run = Running(
        Command::new(env!("CARGO_BIN_EXE_cellm"))
            .args(["run", "--out"])
            .arg(dir.path().join("run"))
            .args(["--set", &format!("metrics.listen={address}")])
            // Short rounds, and more of them than the test will wait for.
            .args(["--set", "run.rounds=100000", "--set", "server.cohort=2", "--set", "server.eval_every=10"])
            .args(["--set", "server.eval_dense=true"])
            .args(["--set", "client.steps=1", "--set", "client.batch=1", "--set", "data.max_tokens=32"])
            .args(["--set", "partition.clients=4"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap(),
    );
    let mut alive = || {
        if let Some(status) = run.0.try_wait().unwrap() {
            panic!("cellm run ended with {status}: {}", fs::read_to_string(&log).unwrap());
        }
    };
    wait_for("the endpoint is not there", || {
        alive();
        get(address, "/healthz").map_err(|error| error.to_string())
    });
    Prometheus::scraping(address).answers_the_dashboard(&mut alive);
    promtool(&["check", "metrics"], &get(address, "/metrics").unwrap());
}
