//! Products, offers and adjustments on a real database.

use super::stock::{StockLevel, SupplyKind};
use super::*;
use crate::kernel::{Cursor, Limit, Money, StoreId};
use crate::platform::idempotency::Key;
use crate::platform::test_db::TestDb;
use crate::stores::CODES;
use crate::stores::tests::{STAFF, new_store};
use crate::stores::{self, StoreKind, Stores, VERSION_CONFLICT};

struct Shop {
    db: TestDb,
    store: StoreId,
}

impl std::ops::Deref for Shop {
    type Target = crate::platform::ctx::Ctx;
    fn deref(&self) -> &Self::Target {
        &self.db.ctx
    }
}

impl Shop {
    async fn new() -> Self {
        let db = TestDb::new(CODES).await;
        let stores = Stores::new(&db.ctx);
        let new = new_store(StoreKind::Physical, "s", 30.0, 120.0);
        let store = stores::add(&db.ctx, &stores, &STAFF, &new).await.unwrap().id;
        Self { db, store }
    }

    async fn product(&self, name: &str, category: &str) -> Product {
        // Ids are in the order of their milliseconds.
        self.clock.advance(1);
        let details = ProductDetails {
            name: name.to_owned(),
            category: category.to_owned(),
            summary: String::new(),
            description: String::new(),
            image: None,
        };
        add_product(self, &STAFF, &details).await.unwrap()
    }

    async fn sku(&self, product: &Product, barcode: Option<&str>) -> Result<Sku> {
        let barcode = barcode.map(|text| text.parse().unwrap());
        let details = SkuDetails { name: "one".to_owned(), barcode, image: None };
        add_sku(self, &STAFF, &product.id, &details).await
    }

    async fn sell(&self, sku: &Sku, price: i64, on_sale: bool, version: i64) -> Result<StoreSku> {
        let terms = OfferTerms { price: Money::cny(price), on_sale, version };
        set_offer(self, &STAFF, &self.store, &sku.id, terms).await
    }

    async fn adjust(&self, key: &str, sku: &Sku, quantity: i64, kind: SupplyKind) -> Result<bool> {
        let (store, sku, reason) = (self.store.clone(), sku.id.clone(), "counted".to_owned());
        let key = Key::new(&STAFF, "adjustStock", key, &(quantity, kind)).unwrap();
        let adjustment = Adjustment { store, sku, quantity, kind, reason };
        Ok(adjust(self, &STAFF, &key, &adjustment).await?.replayed)
    }

    async fn shelf(&self, search: &str, category: &str, limit: u32, after: Option<&Cursor>) -> Vec<String> {
        let limit = Limit::parse(Some(limit)).unwrap();
        let query = ShelfQuery { search: search.to_owned(), category: category.to_owned(), limit };
        let page = on_shelf(self, &self.store, &query, after).await.unwrap();
        page.items.into_iter().map(|item| item.name).chain(page.next.map(|next| next.to_string())).collect()
    }

    async fn level(&self, sku: &Sku) -> StockLevel {
        stock::level(&mut self.db.ctx.db.reader().await.unwrap(), &self.store, &sku.id).await.unwrap()
    }
}

#[tokio::test]
async fn the_shelf_shows_what_is_on_sale_and_finds_it_by_name_and_category() {
    let shop = Shop::new().await;
    for (name, category, on_sale) in [
        ("Longjing Tea 龙井", "茶", true),
        ("Mug", "器", true),
        ("Hidden", "器", false),
        ("Other mug", "器", true),
    ] {
        let product = shop.product(name, category).await;
        let sku = shop.sku(&product, None).await.unwrap();
        shop.sell(&sku, 1_990, on_sale, 0).await.unwrap();
    }
    shop.product("Without SKU", "器").await;
    assert_eq!(shop.shelf("", "", 20, None).await, ["Longjing Tea 龙井", "Mug", "Other mug"]);
    assert_eq!(shop.shelf("MUG", "", 20, None).await, ["Mug", "Other mug"]);
    assert_eq!(shop.shelf("龙井", "", 20, None).await, ["Longjing Tea 龙井"]);
    assert_eq!(shop.shelf("%", "", 20, None).await, [""; 0]);
    assert_eq!(shop.shelf("", "茶", 20, None).await, ["Longjing Tea 龙井"]);
    let first = shop.shelf("", "", 2, None).await;
    let cursor: Cursor = first[2].parse().unwrap();
    assert_eq!(shop.shelf("", "", 2, Some(&cursor)).await, ["Other mug"]);
}

#[tokio::test]
async fn a_product_page_and_a_barcode_show_the_price_of_the_store() {
    let shop = Shop::new().await;
    let product = shop.product("Tea", "茶").await;
    let sku = shop.sku(&product, Some("6901028075763")).await.unwrap();
    let barcode = sku.details.barcode.clone().unwrap();
    let unsold = by_barcode(&shop, &shop.store, &barcode).await.unwrap_err();
    assert!(unsold.is(&SKU_NOT_SOLD));
    assert!(product_in_store(&shop, &shop.store, &product.id).await.unwrap_err().is(&PRODUCT_NOT_FOUND));
    shop.sell(&sku, 1_990, true, 0).await.unwrap();
    shop.adjust("k", &sku, 3, SupplyKind::Supply).await.unwrap();
    let offer = by_barcode(&shop, &shop.store, &barcode).await.unwrap();
    assert_eq!((offer.price_minor, offer.available), (1_990, 3));
    assert_eq!(product_in_store(&shop, &shop.store, &product.id).await.unwrap().skus[0].0, offer);
    let unknown = by_barcode(&shop, &shop.store, &"4006381333931".parse().unwrap()).await.unwrap_err();
    assert!(unknown.is(&SKU_NOT_FOUND));
    edit_product(&shop, &STAFF, &product.id, 1, &product.details, true).await.unwrap();
    assert!(by_barcode(&shop, &shop.store, &barcode).await.unwrap_err().is(&SKU_NOT_SOLD));
}

#[tokio::test]
async fn edits_name_the_version_they_saw_and_barcodes_are_unique() {
    let shop = Shop::new().await;
    let product = shop.product("Tea", "茶").await;
    let sku = shop.sku(&product, Some("6901028075763")).await.unwrap();
    assert!(shop.sku(&product, Some("6901028075763")).await.unwrap_err().is(&BARCODE_TAKEN));
    let other = shop.sku(&product, None).await.unwrap();
    let taken = edit_sku(&shop, &STAFF, &other.id, 1, &sku.details).await.unwrap_err();
    assert!(taken.is(&BARCODE_TAKEN));
    let details = SkuDetails { name: "two".to_owned(), ..sku.details.clone() };
    edit_sku(&shop, &STAFF, &sku.id, 1, &details).await.unwrap();
    assert!(edit_sku(&shop, &STAFF, &sku.id, 1, &details).await.unwrap_err().is(&VERSION_CONFLICT));
    shop.sell(&sku, 100, true, 0).await.unwrap();
    assert!(shop.sell(&sku, 200, true, 0).await.unwrap_err().is(&VERSION_CONFLICT));
    assert_eq!(shop.sell(&sku, 200, false, 1).await.unwrap().version, 2);
    for (price, field) in [(0, "/price/amount"), (PRICE_MAX_MINOR + 1, "/price/amount")] {
        assert_eq!(shop.sell(&sku, price, true, 2).await.unwrap_err().problem("")["field"], field);
    }
}

#[tokio::test]
async fn an_adjustment_happens_once_for_its_key_and_never_below_zero() {
    let shop = Shop::new().await;
    let product = shop.product("Tea", "茶").await;
    let sku = shop.sku(&product, None).await.unwrap();
    assert!(!shop.adjust("a", &sku, 10, SupplyKind::Supply).await.unwrap());
    assert!(shop.adjust("a", &sku, 10, SupplyKind::Supply).await.unwrap());
    assert!(!shop.adjust("b", &sku, -4, SupplyKind::Adjust).await.unwrap());
    let low = shop.adjust("c", &sku, -7, SupplyKind::Adjust).await.unwrap_err();
    assert!(low.is(&STOCK_TOO_LOW));
    assert_eq!(low.problem("")["available"], 6);
    assert!(shop.adjust("d", &sku, -1, SupplyKind::Supply).await.is_err());
    assert!(shop.adjust("e", &sku, 1, SupplyKind::Discrepancy).await.is_err());
    assert_eq!(shop.level(&sku).await, StockLevel { available: 6, locked: 0, sold: 0, supplied: 6 });
    let mut conn = shop.db.ctx.db.reader().await.unwrap();
    let limit = Limit::parse(None).unwrap();
    let moves = stock::moves(&mut conn, &shop.store, &sku.id, None, limit).await.unwrap();
    assert_eq!(moves.items.iter().map(|row| row.quantity).sum::<i64>(), 6);
    let (rows,): (i64,) = sqlx::query_as(
        "SELECT COUNT(*) FROM audit WHERE operation = 'adjustStock' AND before_json IS NOT NULL",
    )
    .fetch_one(&mut *conn)
    .await
    .unwrap();
    assert_eq!(rows, 2);
}
