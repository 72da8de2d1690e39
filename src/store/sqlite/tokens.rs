//! The rows of the admin tokens (S31): a hash and what operators see, never a secret.

use rusqlite::{Connection, Transaction, params};

use super::columns::{Result, execute, optional_time, time, unreadable, word};
use crate::access::{AdminToken, Role};
use crate::clock::Timestamp;
use crate::store::record::Row;
use crate::token::TokenHash;

pub(super) fn write(transaction: &Transaction<'_>, row: &Row) -> Result<()> {
    match row {
        Row::TokenCreated { hash, token, .. } => execute(
            transaction,
            "INSERT INTO tokens (name, hash, role, created_at, created_by, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                token.name.as_str(),
                hash.as_bytes(),
                token.role.as_str(),
                token.created_at.as_millis(),
                token.created_by,
                token.expires_at.map(Timestamp::as_millis),
            ],
        ),
        Row::TokenRevoked { name, .. } => execute(
            transaction,
            "DELETE FROM tokens WHERE name = ?1",
            [name.as_str()],
        ),
        _ => Ok(()),
    }
}

pub(super) fn read(
    connection: &Connection,
    mut each: impl FnMut(TokenHash, AdminToken),
) -> Result<()> {
    let mut select = connection
        .prepare("SELECT name, hash, role, created_at, created_by, expires_at FROM tokens")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let token = AdminToken {
            name: name.try_into().map_err(|_| unreadable(0))?,
            role: word(row, 2, Role::from_word)?,
            created_at: time(row, 3)?,
            created_by: row.get(4)?,
            expires_at: optional_time(row, 5)?,
        };
        each(TokenHash::from_bytes(row.get(1)?), token);
    }
    Ok(())
}
