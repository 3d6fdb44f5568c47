//! Any sequence of locks, payments, cancellations, restocks and supplies keeps the invariants.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::kernel::Id;
use crate::platform::test_db::TestDb;
use crate::stores::CODES;
use crate::stores::tests::STAFF;

fn tail(n: usize) -> String {
    format!("{n:0>26}")
}

fn sku(n: usize) -> SkuId {
    SkuId::from_tail(&tail(n))
}

fn store() -> StoreId {
    StoreId::from_tail(&tail(1))
}

fn order(n: usize) -> OrderId {
    OrderId::from_tail(&tail(n))
}

/// The line of an order: its number, and that of the SKU, which an order names once.
fn line(order: usize, sku: usize) -> OrderLineId {
    OrderLineId::from_tail(&tail(order * 100 + sku))
}

async fn supply_of(db: &TestDb, n: usize, quantity: i64) -> Result<SupplyMoveId> {
    let (ctx, store, sku) = (&db.ctx, &store(), &sku(n));
    let supply = Supply { store, sku, quantity, kind: SupplyKind::Adjust, reason: "counted" };
    let supply_it = &supply;
    ctx.db.write(|tx| Box::pin(async move { super::supply(tx, ctx, &STAFF, supply_it).await })).await
}

async fn lock_lines(db: &TestDb, number: usize, wanted: &[(usize, i64)]) -> Result<()> {
    let lines: Vec<LockLine> = wanted
        .iter()
        .map(|(n, quantity)| LockLine { line_id: line(number, *n), sku_id: sku(*n), quantity: *quantity })
        .collect();
    let (order, store, lines) = (&order(number), &store(), &lines);
    db.ctx.db.write(|tx| Box::pin(async move { lock(tx, order, store, lines).await })).await
}

async fn end_order(db: &TestDb, number: usize, paid: bool) -> Result<()> {
    let (ctx, order) = (&db.ctx, &order(number));
    ctx.db
        .write(|tx| {
            Box::pin(async move { if paid { finish(tx, order).await } else { cancel(tx, ctx, order).await } })
        })
        .await
}

async fn restock_line(db: &TestDb, line: &OrderLineId, quantity: i64) -> Result<()> {
    db.ctx.db.write(|tx| Box::pin(async move { restock(tx, line, quantity).await })).await
}

async fn level_of(db: &TestDb, n: usize) -> StockLevel {
    level(&mut db.ctx.db.reader().await.unwrap(), &store(), &sku(n)).await.unwrap()
}

async fn violations(db: &TestDb) -> Vec<(&'static str, Vec<String>)> {
    let mut found = invariants(&mut db.ctx.db.reader().await.unwrap()).await.unwrap();
    found.retain(|(_, violations)| !violations.is_empty());
    found
}

#[derive(Debug, Clone)]
enum Step {
    Supply {
        sku: usize,
        quantity: i64,
    },
    Lock {
        wanted: BTreeMap<usize, i64>,
    },
    /// Of an earlier order, whatever became of it meanwhile.
    Finish {
        order: usize,
    },
    Cancel {
        order: usize,
    },
    Restock {
        order: usize,
        sku: usize,
        quantity: i64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let sku = 1_usize..4;
    let order = 1_usize..12;
    let step = prop_oneof![
        2 => (sku.clone(), -15_i64..30).prop_map(|(sku, quantity)| Step::Supply { sku, quantity }),
        4 => prop::collection::btree_map(sku.clone(), 1_i64..8, 1..3).prop_map(|wanted| Step::Lock { wanted }),
        2 => order.clone().prop_map(|order| Step::Finish { order }),
        2 => order.clone().prop_map(|order| Step::Cancel { order }),
        3 => (order, sku, 1_i64..4).prop_map(|(order, sku, quantity)| Step::Restock { order, sku, quantity }),
    ];
    prop::collection::vec(step, 1..50)
}

/// What the numbers should be, kept in the plainest way.
#[derive(Default)]
struct Model {
    levels: BTreeMap<usize, StockLevel>,
    /// By order and SKU: quantity, restocked, and the state.
    lines: BTreeMap<(usize, usize), (i64, i64, &'static str)>,
    orders: usize,
}

impl Model {
    fn level(&mut self, sku: usize) -> &mut StockLevel {
        self.levels.entry(sku).or_default()
    }

    fn end(&mut self, order: usize, to: &'static str) {
        let lines = self.lines.iter_mut().filter(|((of, _), (_, _, state))| *of == order && *state == "LOCK");
        for ((_, sku), (quantity, _, state)) in lines {
            *state = to;
            let level = self.levels.entry(*sku).or_default();
            level.locked -= *quantity;
            if to == "FINISH" {
                level.sold += *quantity;
            } else {
                level.available += *quantity;
            }
        }
    }
}

async fn play(db: &TestDb, model: &mut Model, step: &Step) -> Result<(), TestCaseError> {
    match step {
        Step::Supply { sku, quantity } => {
            let fits = *quantity != 0 && model.level(*sku).available + quantity >= 0;
            prop_assert_eq!(supply_of(db, *sku, *quantity).await.is_ok(), fits);
            if fits {
                model.level(*sku).available += quantity;
                model.level(*sku).supplied += quantity;
            }
        }
        Step::Lock { wanted } => {
            model.orders += 1;
            let number = model.orders;
            let fits = wanted.iter().all(|(sku, quantity)| model.level(*sku).available >= *quantity);
            let wanted: Vec<(usize, i64)> = wanted.iter().map(|(sku, n)| (*sku, *n)).collect();
            let locked = lock_lines(db, number, &wanted).await;
            prop_assert_eq!(locked.is_ok(), fits);
            if let Err(failure) = locked {
                prop_assert!(failure.is(&OUT_OF_STOCK));
                return Ok(());
            }
            for (sku, quantity) in wanted {
                model.level(sku).available -= quantity;
                model.level(sku).locked += quantity;
                model.lines.insert((number, sku), (quantity, 0, "LOCK"));
            }
        }
        Step::Finish { order } => {
            prop_assert!(end_order(db, *order, true).await.is_ok());
            model.end(*order, "FINISH");
        }
        Step::Cancel { order } => {
            prop_assert!(end_order(db, *order, false).await.is_ok());
            model.end(*order, "CANCEL");
        }
        Step::Restock { order, sku, quantity } => {
            let known = model.lines.get_mut(&(*order, *sku));
            let fits = known
                .as_ref()
                .is_some_and(|(of, restocked, state)| *state == "FINISH" && restocked + quantity <= *of);
            prop_assert_eq!(restock_line(db, &line(*order, *sku), *quantity).await.is_ok(), fits);
            if let Some((_, restocked, _)) = known.filter(|_| fits) {
                *restocked += quantity;
                model.level(*sku).sold -= quantity;
                model.level(*sku).available += quantity;
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_sequence_keeps_the_stock_right(steps in steps()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let db = TestDb::new(CODES).await;
            let mut model = Model::default();
            for step in &steps {
                play(&db, &mut model, step).await?;
            }
            for (sku, expected) in &model.levels {
                prop_assert_eq!(level_of(&db, *sku).await, *expected);
            }
            let violations = violations(&db).await;
            prop_assert!(violations.is_empty(), "{:?}", violations);
            Ok(())
        })?;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_items_go_to_as_many_as_there_are() {
    let db = TestDb::new(CODES).await;
    supply_of(&db, 1, 5).await.unwrap();
    supply_of(&db, 2, 100).await.unwrap();
    // Named in both orders: what is updated is always in the order of SKU ids.
    let orders = (1..=20).map(|n| {
        let db = &db;
        async move {
            let wanted = if n % 2 == 0 { [(1, 1), (2, 1)] } else { [(2, 1), (1, 1)] };
            lock_lines(db, n, &wanted).await
        }
    });
    let results = futures_util::future::join_all(orders).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 5);
    for refused in results.into_iter().filter_map(Result::err) {
        let problem = refused.problem("");
        assert_eq!((&problem["code"], &problem["available"]), (&"out_of_stock".into(), &0.into()));
        assert_eq!(problem["sku_id"], sku(1).as_str());
    }
    assert_eq!(level_of(&db, 2).await, StockLevel { available: 95, locked: 5, sold: 0, supplied: 100 });
    assert!(violations(&db).await.is_empty());
}

#[tokio::test]
async fn the_invariants_see_what_is_wrong() {
    let db = TestDb::new(CODES).await;
    supply_of(&db, 1, 5).await.unwrap();
    lock_lines(&db, 1, &[(1, 2)]).await.unwrap();
    assert!(violations(&db).await.is_empty());
    let spoil = |query: &'static str| {
        let db = &db;
        async move {
            let write = db.ctx.db.write(|tx| {
                Box::pin(async move {
                    sqlx::query(query).execute(&mut **tx).await?;
                    Ok(())
                })
            });
            write.await.unwrap();
            violations(db).await.into_iter().map(|(rule, _)| rule).collect::<Vec<_>>()
        }
    };
    let found = spoil("UPDATE stock SET locked = 1").await;
    assert_eq!(found, ["available + locked + sold = supplied", "locked = the lock rows in LOCK"]);
    let found = spoil("UPDATE stock SET locked = 2, supplied = 6, available = 4").await;
    assert_eq!(found, ["supplied = the supply moves"]);
    let found = spoil("UPDATE stock_locks SET restocked = 1").await;
    assert_eq!(found.len(), 2);
    let found = spoil("DELETE FROM stock").await;
    assert!(found.contains(&"every lock row has its stock row"));
    assert!(found.contains(&"every supply move has its stock row"));
}
