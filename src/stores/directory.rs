//! All stores of one version, with their JSON made in advance.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::location::Point;
use super::{Store, StoreKind, view};
use crate::kernel::{Millis, StoreId, minute_ms};

/// All stores, by their ids, and the JSON of each up to what depends on the minute.
pub struct Directory {
    stores: Vec<Store>,
    heads: Vec<String>,
    /// Where one can go to them; none of the online store.
    points: Vec<Option<Point>>,
    by_id: HashMap<StoreId, usize>,
    by_scene: HashMap<String, usize>,
    minute: RwLock<Arc<Minute>>,
}

/// What depends on the minute, for each store in their order. Hours are whole minutes, so nothing
/// changes inside of one.
pub struct Minute {
    minute: i64,
    pub open: Vec<bool>,
    pub json: Vec<String>,
}

impl Directory {
    pub fn new(mut stores: Vec<Store>) -> Self {
        stores.sort_by(|a, b| a.id.cmp(&b.id));
        let index = 0..stores.len();
        Self {
            heads: stores.iter().map(view::head).collect(),
            points: stores.iter().map(point).collect(),
            by_id: index.clone().map(|i| (stores[i].id.clone(), i)).collect(),
            by_scene: index.map(|i| (stores[i].scene.clone(), i)).collect(),
            minute: RwLock::new(Arc::new(Minute { minute: i64::MIN, open: vec![], json: vec![] })),
            stores,
        }
    }

    /// The newest version of any store. No store is ever deleted, so it grows with every write.
    pub fn version(&self) -> i64 {
        self.stores.iter().map(|store| store.version).max().unwrap_or(0)
    }

    /// In the order of their ids, which is that of their opening.
    pub fn stores(&self) -> &[Store] {
        &self.stores
    }

    pub fn by_id(&self, id: &StoreId) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    pub fn by_scene(&self, scene: &str) -> Option<usize> {
        self.by_scene.get(scene).copied()
    }

    /// Where a store is to be gone to; none: it is online.
    pub fn point(&self, index: usize) -> Option<Point> {
        self.points[index]
    }

    /// Who is open in this minute.
    pub fn minute(&self, now_ms: Millis) -> Arc<Minute> {
        let minute = minute_of(now_ms);
        let known = self.minute.read().unwrap_or_else(PoisonError::into_inner).clone();
        if known.minute == minute {
            return known;
        }
        let at_ms = minute * minute_ms(1);
        let fresh = Arc::new(Minute {
            minute,
            open: self.stores.iter().map(|store| store.is_open_at(at_ms)).collect(),
            json: self.stores.iter().map(|store| view::moment(store, at_ms)).collect(),
        });
        *self.minute.write().unwrap_or_else(PoisonError::into_inner) = fresh.clone();
        fresh
    }

    /// Appends one store's JSON.
    pub fn write(&self, out: &mut String, index: usize, minute: &Minute, distance_m: Option<u32>) {
        out.push_str(&self.heads[index]);
        out.push_str(&minute.json[index]);
        view::close(out, distance_m);
    }
}

fn point(store: &Store) -> Option<Point> {
    (store.kind == StoreKind::Physical).then(|| store.location().point())
}

/// Minutes since 1970.
pub fn minute_of(now_ms: Millis) -> i64 {
    now_ms.div_euclid(minute_ms(1))
}

// In the kv tier a directory is its stores; the rest is made of them.
impl Serialize for Directory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.stores.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Directory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::new)
    }
}
