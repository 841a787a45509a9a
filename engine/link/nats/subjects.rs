//! Subjects of a federation, and the rights to them. A client may publish under its own names alone and read its own and the
//! common ones; it can neither see nor make what is another's.

/// The subjects of one federation.
#[derive(Debug, Clone)]
pub struct Subjects {
    root: String,
    stream: String,
}

impl Subjects {
    /// Those of the federation with this id.
    pub fn new(federation: &str) -> Self {
        Self { root: format!("cellm.{federation}"), stream: format!("cellm_{federation}") }
    }

    /// The stream with all chunks.
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// The subjects that the stream keeps.
    pub fn kept(&self) -> Vec<String> {
        vec![format!("{}.up.>", self.root), format!("{}.down.>", self.root)]
    }

    /// The signs of life of all clients.
    pub fn statuses(&self) -> String {
        format!("{}.ctl.*", self.root)
    }

    /// The signs of life of one client.
    pub fn status(&self, client: &str) -> String {
        format!("{}.ctl.{client}", self.root)
    }

    /// The orders to one client.
    pub fn orders(&self, client: &str) -> String {
        format!("{}.order.{client}", self.root)
    }

    /// Chunks that every client may read, of a transfer.
    pub fn common(&self, id: &str) -> String {
        format!("{}.down.all.{id}", self.root)
    }

    /// Chunks for one client.
    pub fn own(&self, client: &str, id: &str) -> String {
        format!("{}.down.{client}.{id}", self.root)
    }

    /// Chunks from one client.
    pub fn upload(&self, client: &str, id: &str) -> String {
        format!("{}.up.{client}.{id}", self.root)
    }

    /// The request for the message under `subject` of the stream.
    pub fn fetch(&self, subject: &str) -> String {
        format!("$JS.API.DIRECT.GET.{}.{subject}", self.stream)
    }

    /// The prefix of a client's inboxes.
    pub fn inbox(client: &str) -> String {
        format!("_INBOX_{client}")
    }

    /// The subjects that a client may publish to.
    pub fn may_publish(&self, client: &str) -> Vec<String> {
        vec![
            self.status(client),
            self.upload(client, ">"),
            self.fetch(&self.common(">")),
            self.fetch(&self.own(client, ">")),
        ]
    }

    /// The subjects that a client may read.
    pub fn may_subscribe(&self, client: &str) -> Vec<String> {
        vec![self.orders(client), format!("{}.>", Self::inbox(client))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_own_subjects_and_the_common_ones() {
        let subjects = Subjects::new("f1");
        assert_eq!(
            subjects.may_publish("a"),
            [
                "cellm.f1.ctl.a",
                "cellm.f1.up.a.>",
                "$JS.API.DIRECT.GET.cellm_f1.cellm.f1.down.all.>",
                "$JS.API.DIRECT.GET.cellm_f1.cellm.f1.down.a.>"
            ]
        );
        assert_eq!(subjects.may_subscribe("a"), ["cellm.f1.order.a", "_INBOX_a.>"]);
    }
}
