//! `cellm enroll`: a federation's keys and its clients.

use serde_json::json;

use crate::roster::{DEFAULT_ADDRESS, Enrolment};

use super::args::EnrollCommand;
use super::{Failure, output};

/// `cellm enroll init|add|list|revoke`.
pub fn enroll(command: &EnrollCommand, json: bool) -> Result<u8, Failure> {
    let (object, text) = match command {
        EnrollCommand::Init { dir, address } => {
            let made = Enrolment::init(dir, address.as_deref().unwrap_or(DEFAULT_ADDRESS))?;
            let text = format!(
                "federation {} in {}: keep {} to yourself\nenrol each client with: cellm enroll add {} NAME",
                made.id(),
                dir.display(),
                dir.join("secret").display(),
                dir.display()
            );
            (json!({ "federation": made.id(), "directory": dir, "address": made.address() }), text)
        }
        EnrollCommand::Add { dir, name, max_examples } => {
            let mut federation = Enrolment::open(dir)?;
            let file = federation.add(name, *max_examples)?;
            let text = format!(
                "{name} is enrolled: hand {} to its site, and to nobody else\nthere: cellm client --credentials {name}.creds --set \
                 data.path=FILE",
                file.display()
            );
            (json!({ "client": name, "credentials": file, "address": federation.address() }), text)
        }
        EnrollCommand::List { dir } => {
            let federation = Enrolment::open(dir)?;
            let mut text = format!("federation {}, at {}", federation.id(), federation.address());
            for (number, member) in federation.members().iter().enumerate() {
                let revoked = if member.revoked { ", revoked" } else { "" };
                text.push_str(&format!("\n{number}  {}  enrolled {}{revoked}", member.name, member.enrolled));
            }
            (json!({ "federation": federation.id(), "clients": federation.members() }), text)
        }
        EnrollCommand::Revoke { dir, name } => {
            let mut federation = Enrolment::open(dir)?;
            federation.revoke(name)?;
            (json!({ "client": name, "revoked": true }), format!("{name} has no rights any more"))
        }
    };
    output::show(json, || object, || format!("{text}\n"))?;
    Ok(0)
}
