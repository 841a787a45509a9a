//! The order of classes: the head that a run starts from and the data's labels in; the data with its classes in the
//! order of the head's rows out.

use super::config::HeadStart;
use super::{LoraConfig, Model, TrainerError};
use crate::adapter::peft;
use crate::data::{self, Dataset, Task};

/// The classifier head of an adapter folder or a checkpoint.
#[derive(Debug, Clone)]
struct OwnHead {
    /// The name of the adapter or model in errors.
    of: String,
    rows: usize,
    /// The names of its classes in the order of its rows; none where they have no names.
    names: Vec<String>,
}

/// The order of some data's classes by the rows of a head.
#[derive(Debug, PartialEq)]
struct ClassOrder {
    classes: Vec<String>,
    /// For each label of the data, its row in the head.
    places: Vec<u32>,
    /// A note for people.
    note: Option<String>,
}

impl Model {
    /// The data with its classes in the order of the rows of the head that the run starts from (that of `lora.init`,
    /// else the checkpoint's own), and a note on that order. Data of other tasks, and data of a model without such a
    /// head, stays as it is.
    ///
    /// # Errors
    /// [`TrainerError::Classes`] with both lists, where the data has labels that the head does not know.
    pub fn order_classes(
        &self,
        data: Dataset,
        config: &data::Config,
        lora: &LoraConfig,
    ) -> Result<(Dataset, Option<String>), TrainerError> {
        if config.task != Task::Classification || lora.head == HeadStart::Zero {
            return Ok((data, None));
        }
        let Some(head) = self.own_head(lora)? else { return Ok((data, None)) };
        let given = !config.classes.is_empty();
        let order = head.order(data.classes(), given);
        let ClassOrder { classes, places, note } =
            order.map_err(|reason| TrainerError::Classes { of: head.of, reason })?;
        Ok((data.with_classes(classes, &places), note))
    }

    fn own_head(&self, lora: &LoraConfig) -> Result<Option<OwnHead>, TrainerError> {
        let spec = &self.transformer.spec;
        let named = || spec.labels.names.clone().unwrap_or_default();
        if let Some(folder) = &lora.init {
            let config = peft::read_config(folder)?;
            let saved = config.heads.iter().any(|head| head == spec.classifier.module());
            let rows = if saved { peft::head_rows(folder, spec.classifier.name)? } else { None };
            if let Some(rows) = rows {
                let names = if config.classes.is_empty() { named() } else { config.classes };
                let names = if names.len() == rows { names } else { Vec::new() };
                return Ok(Some(OwnHead { of: folder.display().to_string(), rows, names }));
            }
        }
        let Some(rows) = self.transformer.stored_head.rows() else { return Ok(None) };
        let failed = |reason: String| TrainerError::Classes { of: self.name().into(), reason };
        let names = spec.labels.names.clone().map_err(failed)?;
        match spec.labels.problem_type.as_deref() {
            None | Some("single_label_classification") => {}
            Some(other) => {
                return Err(failed(format!(
                    "problem_type is {other}, but only single_label_classification is supported"
                )));
            }
        }
        if !names.is_empty() && names.len() != rows {
            return Err(failed(format!("config.json names {} classes, but the head has {rows} rows", names.len())));
        }
        if rows == 1 {
            return Err(failed(
                "it has one class, as for a regression, but only single_label_classification is supported".into(),
            ));
        }
        Ok(Some(OwnHead { of: self.name().into(), rows, names }))
    }
}

impl OwnHead {
    /// The head's classes and the row of each of the data's labels. `given` where `data.classes` set the order of the
    /// labels.
    fn order(&self, labels: &[String], given: bool) -> Result<ClassOrder, String> {
        let made_up: Vec<String> = (0..self.rows).map(|row| format!("LABEL_{row}")).collect();
        let numbers: Vec<String> = (0..self.rows).map(|row| row.to_string()).collect();
        let by_name = if self.names.is_empty() { &made_up } else { &self.names };
        if let Some(places) = places(labels, by_name) {
            let other = given && labels != by_name.get(..labels.len()).unwrap_or_default();
            let note = other.then(|| {
                format!(
                    "data.classes has another order than the head of {}, which counts: {}",
                    self.of,
                    listed(by_name)
                )
            });
            return Ok(ClassOrder { classes: by_name.clone(), places, note });
        }
        if let Some(places) = places(labels, &numbers) {
            if self.names.is_empty() {
                return Ok(ClassOrder { classes: numbers, places, note: None });
            }
            let note = format!(
                "the data's labels are taken as the numbers of the classes of {}: {}",
                self.of,
                listed(&self.names)
            );
            return Ok(ClassOrder { classes: self.names.clone(), places, note: Some(note) });
        }
        if self.names.is_empty() && labels.len() == self.rows {
            let note = (!given).then(|| {
                format!(
                    "nothing names the classes of the head of {}: its rows are taken to be the data's labels in their order ({}); \
                     data.classes gives another",
                    self.of,
                    listed(labels)
                )
            });
            return Ok(ClassOrder { classes: labels.to_vec(), places: (0..).take(labels.len()).collect(), note });
        }
        Err(match self.names.is_empty() {
            true => format!(
                "its head has {} classes without names, the data has {}: {}",
                self.rows,
                labels.len(),
                listed(labels)
            ),
            false => format!("its head has the classes {}, the data has {}", listed(&self.names), listed(labels)),
        })
    }
}

/// The index in `names` of each label; none where a name lacks a label.
fn places(labels: &[String], names: &[String]) -> Option<Vec<u32>> {
    labels.iter().map(|label| names.iter().position(|name| name == label).map(|place| place as u32)).collect()
}

/// Names that an error message lists at most.
const LISTED: usize = 12;

fn listed(names: &[String]) -> String {
    let first = names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(names: &[&str], rows: usize, labels: &[&str], given: bool) -> Result<ClassOrder, String> {
        let strings = |all: &[&str]| all.iter().map(|one| one.to_string()).collect::<Vec<_>>();
        OwnHead { of: "m".into(), rows, names: strings(names) }.order(&strings(labels), given)
    }

    const NAMES: [&str; 3] = ["positive", "negative", "neutral"];

    #[test]
    fn the_heads_names_give_the_order_also_where_the_data_has_some_of_them() {
        let found = order(&NAMES, 3, &["negative", "neutral", "positive"], false).unwrap();
        assert_eq!((found.classes, found.places, found.note), (NAMES.map(String::from).to_vec(), vec![1, 2, 0], None));
        let found = order(&NAMES, 3, &["neutral"], false).unwrap();
        assert_eq!((found.classes.len(), found.places), (3, vec![2]));
        let found = order(&NAMES, 3, &["neutral", "positive", "negative"], true).unwrap();
        assert_eq!(found.places, [2, 0, 1]);
        assert!(found.note.unwrap().starts_with("data.classes has another order than the head of m, which counts"));
    }

    #[test]
    fn labels_that_the_head_does_not_know_are_an_error_with_both_lists() {
        let error = order(&NAMES, 3, &["negative", "odd"], false).unwrap_err();
        assert_eq!(error, "its head has the classes positive, negative, neutral, the data has negative, odd");
        let error = order(&[], 3, &["a", "b"], false).unwrap_err();
        assert_eq!(error, "its head has 3 classes without names, the data has 2: a, b");
    }

    #[test]
    fn numbers_are_the_numbers_of_classes() {
        let found = order(&NAMES, 3, &["0", "2"], false).unwrap();
        assert_eq!((found.classes, found.places), (NAMES.map(String::from).to_vec(), vec![0, 2]));
        assert!(found.note.unwrap().contains("are taken as the numbers of the classes of m: positive, negative"));
        let found = order(&[], 3, &["0", "2"], false).unwrap();
        assert_eq!(
            (found.classes, found.places, found.note),
            (["0", "1", "2"].map(String::from).to_vec(), vec![0, 2], None)
        );
        assert!(order(&NAMES, 3, &["0", "3"], false).is_err());
    }

    #[test]
    fn without_names_the_datas_order_counts_and_is_said() {
        let found = order(&[], 2, &["no", "yes"], false).unwrap();
        assert_eq!(found.places, [0, 1]);
        assert!(found.note.unwrap().contains("in their order (no, yes); data.classes gives another"));
        assert_eq!(order(&[], 2, &["yes", "no"], true).unwrap().note, None);
        let found = order(&[], 2, &["LABEL_1"], false).unwrap();
        assert_eq!((found.classes, found.places), (vec!["LABEL_0".to_string(), "LABEL_1".into()], vec![1]));
    }
}
