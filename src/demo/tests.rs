//! The demo data is what the examples of the API say.

use super::*;
use crate::catalog::{self, EXAMPLE_BARCODE, ShelfQuery, example_product, example_sku};
use crate::kernel::{Limit, StoreId};
use crate::platform::test_db::TestDb;
use crate::stores::CODES;
use crate::stores::{EXAMPLE_SCENE, Stores, example_store};

#[tokio::test]
async fn the_demo_is_seeded_once_and_fits_the_examples() {
    let db = TestDb::new(CODES).await;
    let ctx = &db.ctx;
    assert!(seed(ctx).await.unwrap());
    assert!(!seed(ctx).await.unwrap());
    let stores = Stores::new(ctx);
    let store = stores.by_scene(ctx, EXAMPLE_SCENE).await.unwrap();
    assert_eq!(store, stores.by_id(ctx, &example_store()).await.unwrap());
    let barcode = EXAMPLE_BARCODE.parse().unwrap();
    let offer = catalog::by_barcode(ctx, &example_store(), &barcode).await.unwrap();
    assert_eq!((&offer.sku_id, &offer.product_id), (&example_sku(), &example_product()));
    assert!(offer.available > 0);
    let query = ShelfQuery {
        search: String::new(),
        category: String::new(),
        limit: Limit::parse(Some(100)).unwrap(),
    };
    let online: StoreId = id(1);
    assert_eq!(catalog::on_shelf(ctx, &online, &query, None).await.unwrap().items.len(), 12);
    let mut conn = ctx.db.reader().await.unwrap();
    let last = catalog::sku(&mut conn, &id(20)).await.unwrap().unwrap();
    assert_eq!(last.product_id, id(12));
    for (rule, violations) in catalog::invariants(&mut conn).await.unwrap() {
        assert!(violations.is_empty(), "{rule}: {violations:?}");
    }
}
