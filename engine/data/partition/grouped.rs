//! Flower's `GroupedNaturalIdPartitioner`: each client is a group of natural ids, as an organization is of people.

use super::super::{DataError, Dataset};
use super::{Config, GroupMode, classes, even_parts, groups, too_many};

/// Record indices of each group, at most `clients` groups.
pub(super) fn split(dataset: &Dataset, config: &Config) -> Result<Vec<Vec<u32>>, DataError> {
    let ids = if config.sort_unique_ids { classes(dataset) } else { groups(dataset) };
    let (count, size) = (ids.len(), config.group_size);
    let left = count % size;
    if size > count && config.mode != GroupMode::AllowSmaller {
        let allowed = format!("at most {count}, the ids of {}, as partition.mode is not allow-smaller", dataset.name());
        return Err(DataError::value("partition.group_size", size, allowed));
    }
    let members: Vec<&[(&str, Vec<u32>)]> = match config.mode {
        GroupMode::AllowSmaller => ids.chunks(size).collect(),
        GroupMode::AllowBigger => even_parts(&ids, count / size).collect(),
        GroupMode::DropReminder => ids.chunks_exact(size).collect(),
        GroupMode::Strict if left == 0 => ids.chunks(size).collect(),
        GroupMode::Strict => {
            let allowed = format!("a divisor of {count}, the ids of {}, as partition.mode is strict", dataset.name());
            return Err(DataError::value("partition.group_size", size, allowed));
        }
    };
    if config.clients > members.len() {
        return Err(too_many(dataset, config, members.len(), "groups of ids"));
    }
    let wanted = if config.clients == 0 { members.len() } else { config.clients };
    let records = |group: &[(&str, Vec<u32>)]| group.iter().flat_map(|(_, records)| records).copied().collect();
    Ok(members.into_iter().take(wanted).map(records).collect())
}

#[cfg(test)]
mod tests {
    use super::super::super::Config as DataConfig;
    use super::super::tests::{config, even, names};
    use super::super::{Kind, partition};
    use super::*;

    /// The ids of each group of seven.
    fn groups(change: impl FnOnce(&mut Config)) -> Result<Vec<usize>, String> {
        let mut config = Config { group_size: 3, ..config(Kind::GroupedNaturalId, 0) };
        change(&mut config);
        let data = even(7, 4);
        let split = partition(&data, &config, &DataConfig::default(), 1).map_err(|error| error.to_string())?;
        Ok(names(&data, &split).iter().map(Vec::len).collect())
    }

    #[test]
    fn the_mode_tells_what_becomes_of_those_left_over() {
        assert_eq!(groups(|_| {}).unwrap(), [3, 3, 1]);
        assert_eq!(groups(|config| config.mode = GroupMode::AllowBigger).unwrap(), [4, 3]);
        assert_eq!(groups(|config| config.mode = GroupMode::DropReminder).unwrap(), [3, 3]);
        let error = groups(|config| config.mode = GroupMode::Strict).unwrap_err();
        assert_eq!(
            error,
            "partition.group_size is 3, it must be a divisor of 7, the ids of even, as partition.mode is strict"
        );
        assert_eq!(groups(|config| (config.mode, config.group_size) = (GroupMode::Strict, 7)).unwrap(), [7]);
    }

    #[test]
    fn groups_may_be_fewer_than_there_are_but_not_more() {
        assert_eq!(groups(|config| config.clients = 2).unwrap(), [3, 3]);
        assert_eq!(
            groups(|config| config.clients = 4).unwrap_err(),
            "partition.clients is 4, even has 3 groups of ids"
        );
        assert_eq!(groups(|config| config.group_size = 9).unwrap(), [7]);
        let error = groups(|config| (config.group_size, config.mode) = (9, GroupMode::AllowBigger)).unwrap_err();
        assert!(error.starts_with("partition.group_size is 9, it must be at most 7"), "{error}");
    }

    #[test]
    fn ids_are_grouped_as_they_come_or_sorted_numbers_by_value() {
        let data = Dataset::made_up("ids", ["10", "9", "10", "2"].into_iter().map(String::from));
        let first = |sort_unique_ids| {
            let config = Config { sort_unique_ids, ..config(Kind::GroupedNaturalId, 1) };
            let split = partition(&data, &config, &DataConfig::default(), 1).unwrap();
            names(&data, &split).remove(0)
        };
        assert_eq!(first(false), ["9", "10"]);
        assert_eq!(first(true), ["2", "9"]);
    }
}
