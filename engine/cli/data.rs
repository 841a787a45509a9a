//! `cellm data inspect`: who has what of the data, as the config splits it, before anything is trained.

use serde_json::{Map, Value, json};

use crate::data::{Dataset, Inspected, Inspection, partition};
use crate::trainer;

use super::args::{DataCommand, Inspect};
use super::{Failure, config, output, visible};

/// Does what the command says.
pub fn data(command: &DataCommand, json: bool) -> Result<u8, Failure> {
    match command {
        DataCommand::Inspect(arguments) => inspect(arguments, json),
    }
}

fn inspect(arguments: &Inspect, json: bool) -> Result<u8, Failure> {
    let mut config = config::layers(&arguments.sources)?.load_data()?.config;
    let tokenizer = trainer::tokenizer(&config.model)?;
    let (asked, positions) = (config.data.max_tokens, trainer::positions(&config.model)?);
    config.data.max_tokens = asked.min(positions);
    let dataset = Dataset::load(&config.data, config.partition.field(), Some(&tokenizer))?;
    let split = partition::partition(&dataset, &config.partition, &config.data, config.run.seed)?;
    let by_class = config.partition.kind.by_class();
    let found = Inspection::new(&dataset, &split, &config.data, by_class, &tokenizer)?;
    // Pictures have no tokens.
    let limits =
        (asked > positions && found.clients.iter().any(|client| client.tokens > 0)).then_some((asked, positions));
    if let Some(to) = &arguments.to {
        let picture = found.heatmap().ok_or_else(|| {
            Failure::usage("--to draws labels by clients, but the data has no labels: set data.label to their field")
        })?;
        std::fs::write(to, picture).map_err(|error| Failure::file("write", to, error))?;
    }
    output::show(json, || object(&found, limits), || table(&found, limits))?;
    Ok(0)
}

/// `data.max_tokens` and the positions of the model, where those are fewer.
type TokenLimits = Option<(usize, usize)>;

fn object(found: &Inspection, limits: TokenLimits) -> Value {
    let client = |client: &Inspected| {
        let labels = found.labels.iter().cloned().zip(client.labels.iter().map(|count| json!(count)));
        json!({
            "name": client.name,
            "train": client.train,
            "validation": client.validation,
            "sequences": client.sequences,
            "tokens": client.tokens,
            "predicted": client.predicted,
            "labels": labels.filter(|(_, count)| *count != 0).collect::<Map<_, _>>(),
        })
    };
    json!({
        "data": found.name,
        "records": found.records,
        "unowned": found.unowned,
        "left_out": { "count": found.left_out.count(), "first": found.left_out.first() },
        "short": found.short,
        "cut_at": limits.map(|(_, positions)| positions),
        "labels": found.labels,
        "clients": found.clients.iter().map(client).collect::<Vec<_>>(),
    })
}

fn table(found: &Inspection, limits: TokenLimits) -> String {
    let records = found.clients.iter().map(|client| (client.train + client.validation) as u64).collect();
    let tokens = found.clients.iter().map(|client| client.tokens).collect();
    let mut text = format!("data     {}\nrecords  {}", found.name, found.records);
    if found.unowned > 0 {
        text += &format!(", {} of them nobody's", found.unowned);
    }
    if found.left_out.count() > 0 {
        text += &format!("\nleft out {} that cannot be used (data.invalid is skip)", found.left_out.count());
        found.left_out.first().iter().for_each(|what| text += &format!("\n         {what}"));
    }
    if found.short > 0 {
        text += &format!("\nshort    {}, left out (data.min_chars)", found.short);
    }
    if let Some((asked, positions)) = limits {
        text += &format!("\ncut      at {positions} tokens, the positions of the model (data.max_tokens is {asked})");
    }
    if !found.labels.is_empty() {
        text += &format!("\nlabels   {}", found.labels.len());
    }
    text += &format!(
        "\nclients  {}; records {}, training tokens {}\n\n",
        found.clients.len(),
        range(records),
        range(tokens)
    );
    let heads =
        ["client", "train", "validation", "sequences", "tokens", "predicted", "labels", "most of"].map(String::from);
    let mut rows = vec![heads.to_vec()];
    rows.extend(found.clients.iter().map(|client| row(client, &found.labels)));
    if found.labels.is_empty() {
        rows.iter_mut().for_each(|row| row.truncate(6));
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    for row in &rows {
        let cell = |(column, text): (usize, &String)| match column {
            0 => format!("{text:<width$}", width = widths[column]),
            7 => format!("  {text}"),
            _ => format!("  {text:>width$}", width = widths[column]),
        };
        text += row.iter().enumerate().map(cell).collect::<String>().trim_end();
        text.push('\n');
    }
    text
}

fn row(client: &Inspected, labels: &[String]) -> Vec<String> {
    let all: u32 = client.labels.iter().sum();
    let most = client.labels.iter().zip(labels).max_by_key(|(count, _)| **count);
    let most = most.map_or_else(String::new, |(count, label)| {
        format!("{} {:.0}%", visible::line(label), 100.0 * f64::from(*count) / f64::from(all.max(1)))
    });
    let distinct = client.labels.iter().filter(|count| **count > 0).count();
    let numbers = [client.train, client.validation, client.sequences].map(|number| number.to_string());
    let tokens = [client.tokens, client.predicted].map(|number| number.to_string());
    [
        vec![visible::line(&client.name).into_owned()],
        numbers.to_vec(),
        tokens.to_vec(),
        vec![distinct.to_string(), most],
    ]
    .concat()
}

/// The smallest, the median and the largest of some numbers.
fn range(mut numbers: Vec<u64>) -> String {
    numbers.sort_unstable();
    match (numbers.first(), numbers.last()) {
        (Some(first), Some(last)) if first < last => {
            format!("{first} to {last} (median {})", numbers[numbers.len() / 2])
        }
        (Some(first), _) => format!("{first} each"),
        _ => "no".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::LeftOut;

    fn found() -> Inspection {
        let client = |name: &str, labels: [u32; 2]| Inspected {
            name: name.into(),
            train: 3,
            validation: 1,
            sequences: 3,
            tokens: 30,
            predicted: 27,
            labels: labels.into(),
        };
        let clients = vec![client("client-0", [4, 0]), client("client-1", [1, 3])];
        let labels = vec!["no".into(), "yes".into()];
        let left_out = LeftOut::default();
        Inspection { name: "a.csv".into(), records: 9, unowned: 1, left_out, short: 2, labels, clients }
    }

    #[test]
    fn the_table_says_who_has_what() {
        let expected = "data     a.csv\nrecords  9, 1 of them nobody's\nshort    2, left out (data.min_chars)\n\
                        cut      at 512 tokens, the positions of the model (data.max_tokens is 600)\nlabels   2\n\
                        clients  2; records 4 each, training tokens 30 each\n\n\
                        client    train  validation  sequences  tokens  predicted  labels  most of\n\
                        client-0      3           1          3      30         27       1  no 100%\n\
                        client-1      3           1          3      30         27       2  yes 75%\n";
        assert_eq!(table(&found(), Some((600, 512))), expected);
        let plain = table(&Inspection { labels: Vec::new(), ..found() }, None);
        assert!(plain.lines().all(|line| !line.contains("labels")), "{plain}");
        assert_eq!(range(vec![3, 9, 1]), "1 to 9 (median 3)");
    }

    #[test]
    fn the_object_counts_only_labels_that_a_client_has() {
        let object = object(&found(), None);
        assert_eq!(object["clients"][0]["labels"], json!({"no": 4}));
        assert_eq!(object["clients"][1]["labels"], json!({"no": 1, "yes": 3}));
    }
}
