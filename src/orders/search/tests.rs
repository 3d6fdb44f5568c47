//! Every walk is along an index that is in the order of the list: asked of the database itself.

use super::sql::{Bind, Rest, Way, query};
use super::*;
use crate::orders::CODES;
use crate::platform::test_db::TestDb;

const TAIL: &str = "00000000000000000000000001";

async fn plan(db: &TestDb, way: &Way<'_>, rest: &Rest<'_>) -> String {
    let (text, binds) = query(way, rest);
    let mut query = sqlx::query_as(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}")));
    for bind in binds {
        query = match bind {
            Bind::Text(text) => query.bind(text),
            Bind::Number(number) => query.bind(number),
        };
    }
    let steps: Vec<(i64, i64, i64, String)> =
        query.fetch_all(&mut *db.ctx.db.reader().await.unwrap()).await.unwrap();
    steps.into_iter().map(|(.., step)| step).collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn every_walk_is_along_an_index_in_the_order_of_the_list() {
    let db = TestDb::new(CODES).await;
    let (order, user): (OrderId, UserId) = (Id::from_tail(TAIL), Id::from_tail(TAIL));
    let (store, sku, product): (StoreId, SkuId, ProductId) =
        (Id::from_tail(TAIL), Id::from_tail(TAIL), Id::from_tail(TAIL));
    let ids = [order.clone()];
    let all =
        || Rest { before_id: "~".to_owned(), first_id: Some(order.clone()), limit: 21, ..Rest::default() };
    let paid = OrderStatus::Paid;
    let walks: [(Way<'_>, Rest<'_>, &str); 12] = [
        (Way::PickupCode("40718293"), all(), "orders_code (pickup_code=? AND id>? AND id<?)"),
        (Way::All, all(), "sqlite_autoindex_orders_1 (id>? AND id<?)"),
        (Way::User(&user), all(), "orders_user (user_id=? AND id>? AND id<?)"),
        (Way::Phone("hash"), all(), "orders_phone (phone_hash=? AND id>? AND id<?)"),
        (Way::Store(&store), all(), "orders_store_recent (store_id=? AND id>? AND id<?)"),
        (
            Way::Store(&store),
            Rest { status: Some(paid), ..all() },
            "orders_store (store_id=? AND status=? AND id>? AND id<?)",
        ),
        (Way::Status(paid), all(), "orders_status (status=? AND id>? AND id<?)"),
        (
            Way::Handover(Fulfilment::Pickup, paid),
            all(),
            "orders_fulfilment (fulfilment=? AND status=? AND id>? AND id<?)",
        ),
        (Way::Sku(&sku), all(), "order_lines_sku (sku_id=? AND order_id>? AND order_id<?)"),
        (Way::Product(&product), all(), "order_lines_product (product_id=? AND order_id>? AND order_id<?)"),
        (Way::Ids(&ids), all(), "sqlite_autoindex_orders_1 (id=?)"),
        (Way::All, Rest { goods: Some("v60"), ..all() }, "sqlite_autoindex_orders_1 (id>? AND id<?)"),
    ];
    for (way, rest, index) in &walks {
        let plan = plan(&db, way, rest).await;
        assert!(plan.contains(index), "{way:?}: {plan}");
        let reads_all = plan.split("; ").any(|step| step.starts_with("SCAN"));
        assert!(!reads_all, "{way:?}: {plan}");
        let few = matches!(way, Way::Ids(_));
        assert!(few || !plan.contains("TEMP B-TREE"), "{way:?}: {plan}");
    }
}

fn filter() -> Filter {
    Filter::default()
}

#[test]
fn what_has_no_index_of_its_own_is_looked_for_in_a_bounded_span() {
    let now_ms = day_ms(1_000);
    let goods = Filter { goods: Some("壶".to_owned()), ..filter() };
    assert_eq!(goods.span(now_ms).unwrap(), (Some(now_ms - day_ms(31)), None));
    let earlier = Filter { placed_from_ms: Some(now_ms - day_ms(93)), ..goods };
    assert!(earlier.span(now_ms).is_err());
    let long_ago = Filter { placed_until_ms: Some(now_ms - day_ms(2)), ..earlier };
    assert_eq!(long_ago.span(now_ms).unwrap().0, Some(now_ms - day_ms(93)));
    let of_user = Filter { user: Some(Id::from_tail(TAIL)), goods: Some("壶".to_owned()), ..filter() };
    assert_eq!(of_user.span(now_ms).unwrap(), (None, None));
    let store = Some(Id::from_tail(TAIL));
    let pickups = Filter { store, fulfilment: Some(Fulfilment::Pickup), ..filter() };
    assert_eq!(pickups.span(now_ms).unwrap().0, Some(now_ms - day_ms(92)));
    let pickups = Filter { store: None, ..pickups };
    assert_eq!(pickups.span(now_ms).unwrap(), (None, None));
}

#[test]
fn stores_outside_of_the_scope_are_not_walked() {
    let store = |n: u8| StoreId::from_tail(&n.to_string().repeat(26));
    let scope = StoreScope::Only([store(1), store(2)].into());
    let two = Filter { scope: scope.clone(), ..filter() };
    assert_eq!(ways(&two, two.stores().as_deref(), None).len(), 2);
    let other = Filter { scope, store: Some(store(3)), ..filter() };
    assert!(ways(&other, other.stores().as_deref(), None).is_empty());
}
