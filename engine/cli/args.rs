//! The command line's arguments, as clap reads them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Communication-efficient federated fine-tuning of language models.
///
/// Without a command it runs: `cellm` alone is the demo, a federation of 24 clients on bundled data.
#[derive(Debug, Parser)]
#[command(name = "cellm", version, args_conflicts_with_subcommands = true, max_term_width = 110)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub run: Run,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// Amount of text on stderr, and the form of results on stdout.
#[derive(Debug, Clone, Copy, Args)]
pub struct Verbosity {
    /// Say nothing but errors on stderr.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more on stderr; twice for everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Print the result as one JSON object, the last line of stdout.
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Simulate a federation in this process; without a config, the demo.
    Run(Run),
    /// Serve a federation whose clients are on other machines.
    Server(Server),
    /// Take part in a federation with the data of this machine.
    Client(Client),
    /// Make a federation's keys, and enrol its clients.
    #[command(subcommand)]
    Enroll(EnrollCommand),
    /// Measure the loss of a model with an adapter on a data file, or on the validation data of a run.
    Eval(Eval),
    /// Write the text that a model, with an adapter or a run's, puts after a prompt.
    Generate(Generate),
    /// Write the adapter of a run as a PEFT folder or a GGUF file, or merged into its model.
    Export(Export),
    /// Run a grid of runs (methods, seeds, partitions, learning rates) and compare them; finished ones are kept.
    Experiment(Experiment),
    /// Write an HTML report on one or several runs.
    Report(Report),
    /// Look at the data.
    #[command(subcommand)]
    Data(DataCommand),
    /// Look at the policies that there are, and make new ones.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Look at the config.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Check that this machine, the model, the policies and the run directory are fit for a run.
    Doctor(ConfigSources),
}

/// ConfigSources of the config: files, a profile and single keys.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigSources {
    /// Config file (TOML); may be given several times, later files win.
    #[arg(long, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// Lay the tables [profile.NAME.*] of the files over the rest of them.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Set one key, such as upload.density=0.0625; may be given several times (`cellm config keys` lists the keys).
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub sources: ConfigSources,
    /// Run directory, in place of runs/TIME-NAME.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Go on with the interrupted run in --out, else with the newest one under runs/. Its own config counts, with --set over it.
    #[arg(long, conflicts_with_all = ["config", "profile"])]
    pub resume: bool,
}

#[derive(Debug, Args)]
pub struct Eval {
    #[command(flatten)]
    pub sources: ConfigSources,
    /// Take model, data and adapter of this run directory.
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
}

/// The format of an exported adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum AdapterFormat {
    /// A folder with adapter_config.json and adapter_model.safetensors.
    Peft,
    /// One GGUF file.
    Gguf,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Server {
    #[command(subcommand)]
    pub command: Option<ServerCommand>,
    #[command(flatten)]
    pub run: Run,
}

/// The run directory of a server in another terminal.
#[derive(Debug, Args)]
pub struct ServedRun {
    /// The run directory; by default the newest under runs/.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Show a server's round and its clients.
    Status(ServedRun),
    /// Show the last lines of a server's log.
    Log(ServedRun),
    /// Ask a server to stop when what is under way is durable; `--resume` goes on.
    Stop(ServedRun),
}

#[derive(Debug, Args)]
pub struct Client {
    #[command(flatten)]
    pub sources: ConfigSources,
    /// The file that `cellm enroll add` wrote for this client.
    #[arg(long, value_name = "FILE")]
    pub credentials: PathBuf,
    /// Directory of the client's state between rounds, its config and its log; by default runs/client-NAME.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum EnrollCommand {
    /// Make the folder of a new federation: its id, its certificate, its server's key.
    Init {
        /// The folder to make.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Host and port that clients dial; left out, credentials learn it when the server first starts.
        #[arg(long, value_name = "HOST:PORT")]
        address: Option<String>,
    },
    /// Enrol a client: writes DIR/NAME.creds, the one file to hand to its site.
    Add {
        /// The federation's folder.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// The client's name.
        #[arg(value_name = "NAME")]
        name: String,
        /// Training records that the client may claim, at most; 0 is any number.
        #[arg(long, value_name = "N", default_value_t = 0)]
        max_examples: u32,
    },
    /// List the clients.
    List {
        /// The federation's folder.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Take a client's rights; a running server follows within a second.
    Revoke {
        /// The federation's folder.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// The client's name.
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Debug, Args)]
pub struct Generate {
    #[command(flatten)]
    pub sources: ConfigSources,
    /// Take model and adapter of this run directory.
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,
    /// The prompt; - reads it from stdin.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub prompt: String,
    /// The system's turn before the prompt, in a chat.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub system: Option<String>,
    /// Go on with the prompt as it is. By default a run's prompt gets the form of its data, and that of another model its
    /// chat template where it has one.
    #[arg(long, conflicts_with = "chat")]
    pub raw: bool,
    /// Put the prompt into the chat template.
    #[arg(long)]
    pub chat: bool,
    /// Tokens to write, at most.
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub max_tokens: usize,
    /// Divisor of the logits before a token is drawn; 0 takes the most likely one each time.
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    pub temperature: f32,
    /// Share of the most likely tokens that one is drawn from.
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    pub top_p: f32,
    /// Seed of the draws.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

#[derive(Debug, Args)]
pub struct Export {
    /// The run directory.
    #[arg(long, value_name = "DIR")]
    pub run: PathBuf,
    /// The folder to write; with --format gguf the file.
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Format of the adapter: a PEFT folder, or a GGUF file that llama.cpp and Ollama load beside their model.
    #[arg(long, value_enum, default_value_t = AdapterFormat::Peft)]
    pub format: AdapterFormat,
    /// Write the whole model with the adapter added to its weights, in place of the adapter.
    #[arg(long)]
    pub merge: bool,
}

#[derive(Debug, Args)]
pub struct Experiment {
    /// The file that describes the grid (TOML).
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Directory of cells and report, in place of runs/experiments/NAME. The same again goes on where it was stopped.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Say what the grid is and about what it costs, and run nothing of it.
    #[arg(long)]
    pub dry_run: bool,
    /// Cells at a time; they share the threads, and what each computes besides training is not known.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = jobs)]
    pub jobs: usize,
    /// Set one key of every cell, such as data.path=FILE; may be given several times.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
}

fn jobs(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|jobs| *jobs >= 1).ok_or_else(|| "a whole number, at least 1".into())
}

#[derive(Debug, Args)]
pub struct Report {
    /// Run directories; several are compared.
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<PathBuf>,
    /// The page to write; by default report.html in the run directory, or comparison.html here for several runs. A name
    /// that ends in .md or .csv gets the comparison table alone.
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
    /// The run that the others are measured against, as its directory or its name; by default one called `dense`, else the
    /// one with most bytes a round.
    #[arg(long, value_name = "RUN")]
    pub baseline: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Show what each client has, as the config splits the data: records, tokens, labels.
    Inspect(Inspect),
}

#[derive(Debug, Args)]
pub struct Inspect {
    #[command(flatten)]
    pub sources: ConfigSources,
    /// Draw the labels of every client, as SVG.
    #[arg(long, value_name = "FILE.svg")]
    pub to: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// List the built-in policies.
    List,
    /// Show what a policy is, what options it takes and the hash that pins it.
    Inspect {
        /// Name of a built-in policy, or a component file.
        #[arg(value_name = "NAME|FILE")]
        plugin: String,
    },
    /// Make a project for a policy of your own: one file to edit, everything else with it.
    New {
        /// The folder to make; its name is the policy's.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Language of the policy's source.
        #[arg(long, value_enum, default_value_t = Lang::Rust)]
        lang: Lang,
        /// Kind of the policy.
        #[arg(long, value_enum, default_value_t = PolicyKind::Compressor)]
        kind: PolicyKind,
    },
    /// Compile a project into a component, named like its folder: my-idea/my-idea.wasm.
    Build {
        /// The project's folder.
        #[arg(value_name = "DIR", default_value = ".")]
        dir: PathBuf,
    },
    /// Check that a policy keeps the rules; exit code 4 if it does not.
    Check {
        /// A component file, or the name of a built-in policy.
        #[arg(value_name = "FILE")]
        plugin: String,
    },
    /// Measure compressors beside built-in ones: time, bytes, error of one upload.
    Bench(Bench),
}

#[derive(Debug, Args)]
pub struct Bench {
    /// Component files.
    #[arg(value_name = "FILE")]
    pub plugins: Vec<String>,
    /// Set one option of the policies in the files, such as times=3; may be given several times.
    #[arg(long = "option", value_name = "NAME=VALUE")]
    pub options: Vec<String>,
    /// Built-in policies to stand beside them, with their defaults; all of them: all.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', default_value = "dense,flasc,topk-ef,stc,eden")]
    pub against: Vec<String>,
    /// Share of the values to send, above 0 and at most 1.
    #[arg(long, default_value_t = 0.0625)]
    pub density: f64,
    /// Bits of a value: 1, 2, 3, 4, 8, 16 or 32. A policy that does not take them gets others, which the table says.
    #[arg(long, default_value_t = 16)]
    pub bits: u32,
}

/// A language for policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lang {
    /// On the SDK: small, fast, tested natively.
    Rust,
    /// By componentize-py: 18 MB, the host's kernels do the heavy work.
    Python,
    /// By clang: the smallest.
    C,
}

/// Kinds of policies that a project can be made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PolicyKind {
    /// Makes messages of vectors, and vectors of messages.
    Compressor,
    /// Makes one update of many.
    Aggregator,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the effective config; each value with its origin.
    Show(ConfigSources),
    /// List every key with its default and its meaning.
    Keys,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn no_command_is_a_run_and_takes_its_options() {
        let arguments = Arguments::try_parse_from(["cellm", "--set", "run.rounds=2", "-q", "--json"]).unwrap();
        assert!(arguments.command.is_none() && arguments.verbosity.json && arguments.verbosity.quiet);
        assert_eq!(arguments.run.sources.set, ["run.rounds=2"]);
        let arguments = Arguments::try_parse_from(["cellm", "run", "--resume", "-vv"]).unwrap();
        assert_eq!(arguments.verbosity.verbose, 2);
        assert!(matches!(arguments.command, Some(Command::Run(Run { resume: true, .. }))));
        assert!(Arguments::try_parse_from(["cellm", "run", "--resume", "--config", "x"]).is_err());
        for words in [["cellm", "plugin", "list", "--json"], ["cellm", "config", "keys", "--json"]] {
            assert!(Arguments::try_parse_from(words).unwrap().verbosity.json);
        }
    }

    #[test]
    fn a_new_policy_is_a_compressor_in_rust_unless_said_otherwise() {
        let parse = |words: &[&str]| Arguments::try_parse_from([&["cellm", "plugin", "new"], words].concat());
        let made = |words: &[&str]| match parse(words).unwrap().command {
            Some(Command::Plugin(PluginCommand::New { dir, lang, kind })) => (dir, lang, kind),
            other => panic!("{other:?}"),
        };
        assert_eq!(made(&["idea"]), ("idea".into(), Lang::Rust, PolicyKind::Compressor));
        assert_eq!(made(&["i", "--lang", "c", "--kind", "aggregator"]), ("i".into(), Lang::C, PolicyKind::Aggregator));
        assert!(parse(&["idea", "--lang", "cobol"]).is_err());
    }
}
