//! Rows about footage keys.

use std::sync::Arc;

use super::fold::{FoldError, add, illegal, taken, unknown};
use super::row::Row;
use super::state::{CameraKeys, DestroyedKey, RewrapOrder, State};
use crate::access::{Refusal, Rule};

/// Descriptors in one row: what one announcement to an agent may hold.
pub(super) const MAX_DESCRIPTORS: usize = custody_shared::keys::MAX_KEYS;

pub(super) fn fold(state: &mut State, index: u64, row: &Row) -> Result<(), FoldError> {
    match row {
        Row::KeysAnnounced { camera, descriptors } => {
            if !state.cameras.contains_key(camera) {
                return Err(unknown("camera"));
            }
            if descriptors.is_empty() || descriptors.len() > MAX_DESCRIPTORS {
                return Err(Refusal::new(
                    Rule::Malformed,
                    format!("a row announces 1 to {MAX_DESCRIPTORS} keys"),
                ));
            }
            let keys = keys_of(state, *camera);
            for descriptor in descriptors {
                if descriptor.camera != *camera {
                    return Err(illegal("a descriptor names another camera"));
                }
                // A public half that changes under its id would be a substitution.
                if keys.live.contains_key(&descriptor.key_id)
                    || keys
                        .destroyed
                        .iter()
                        .any(|destroyed| destroyed.key == descriptor.key_id)
                {
                    return Err(taken("key id"));
                }
                keys.live.insert(descriptor.key_id, Arc::new(descriptor.clone()));
            }
            keys.issue += 1;
            Ok(())
        }
        Row::KeyDestroyed {
            camera,
            key,
            range,
            reserve,
            due,
            done,
            method,
        } => {
            let keys = keys_of(state, *camera);
            // A key may die unannounced: its announcement failed and its day came.
            if keys.live.remove(key).is_none() && keys.destroyed.iter().any(|destroyed| destroyed.key == *key) {
                return Err(illegal("this key was destroyed already"));
            }
            keys.destroyed.push(Arc::new(DestroyedKey {
                key: *key,
                range: *range,
                reserve: *reserve,
                due: *due,
                done: *done,
                method: method.clone(),
            }));
            Ok(())
        }
        Row::RewrapOrdered {
            camera,
            key,
            range,
            destroy_at,
            reason,
        } => {
            if !state.keys(*camera).is_some_and(|keys| keys.live.contains_key(key)) {
                return Err(unknown("key"));
            }
            let order = RewrapOrder {
                camera: *camera,
                key: *key,
                range: *range,
                destroy_at: *destroy_at,
                reason: *reason,
            };
            add(&mut state.orders, index, order, "order")
        }
        _ => Err(illegal("no row about keys")),
    }
}

fn keys_of(state: &mut State, camera: custody_shared::id::CameraId) -> &mut CameraKeys {
    Arc::make_mut(Arc::make_mut(&mut state.keys).entry(camera).or_default())
}
