//! Copies the catalogue unchanged, including the server's secret, because keys are useless without it: it replaces the
//! secret of an empty store that was served before. The webhooks' position is not copied, because it refers to its own
//! store's log (`deliveries`).

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Side, TransferError, deliveries};
use crate::store::{CatalogueChange, SECRETS};

/// A space and a name.
pub(super) type Name = (String, String);

/// All entries.
pub(super) async fn read(side: &Side) -> Result<BTreeMap<Name, Bytes>, TransferError> {
    let mut read = BTreeMap::new();
    let versions = side.store.catalogue_versions().await.map_err(side.failed())?;
    for space in versions.into_keys().filter(|space| space != deliveries::OWN_SPACE) {
        let found = side.store.catalogue(&space).await.map_err(side.failed())?;
        let entries = found.entries.into_iter();
        read.extend(entries.map(|(name, value)| ((space.clone(), name), value)));
    }
    Ok(read)
}

/// Refuses a destination with an entry that the source lacks.
pub(super) async fn refuse_others(from: &Side, to: &Side) -> Result<(), TransferError> {
    let (here, there) = tokio::try_join!(read(from), read(to))?;
    let mut there = there.into_iter().filter(|((space, _), _)| space != SECRETS);
    match there.find(|(name, value)| here.get(name) != Some(value)) {
        None => Ok(()),
        Some(((space, name), _)) => {
            let (from, to) = (from.name.clone(), to.name.clone());
            Err(TransferError::OtherEntry { from, to, space, name })
        }
    }
}

/// Writes missing and different entries; returns how many.
pub(super) async fn copy(from: &Side, to: &Side) -> Result<u64, TransferError> {
    let (here, there) = tokio::try_join!(read(from), read(to))?;
    let gone: Vec<Name> = there.keys().filter(|name| !here.contains_key(name)).cloned().collect();
    let mut changes: BTreeMap<String, CatalogueChange> = BTreeMap::new();
    let mut written = 0;
    for ((space, name), value) in here {
        if there.get(&(space.clone(), name.clone())) != Some(&value) {
            change_of(&mut changes, space).put.insert(name, value);
            written += 1;
        }
    }
    for (space, name) in gone {
        change_of(&mut changes, space).delete.push(name);
    }
    for change in changes.into_values() {
        to.store.change_catalogue(change).await.map_err(to.failed())?;
    }
    Ok(written)
}

fn change_of(
    changes: &mut BTreeMap<String, CatalogueChange>,
    space: String,
) -> &mut CatalogueChange {
    let new = || CatalogueChange { space: space.clone(), ..CatalogueChange::default() };
    changes.entry(space.clone()).or_insert_with(new)
}
