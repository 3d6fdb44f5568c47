//! Placing orders, each with a coupon, beside the statements of that alone: the same database, the same pool, as many
//! at once. What the verb sends is recorded and compared with the limit's list, so that neither is measured against
//! something else.

use std::sync::{Arc, Mutex};

use minimall::addresses;
use minimall::coupons::{self, Granted, Source};
use minimall::identity::Phone;
use minimall::kernel::{Actor, AddressId, CouponId, Failure, Id, SkuId, StoreId, UserId};
use minimall::orders::{self, Fulfilment, QuoteRequest, WantedLine};
use minimall::platform::ctx::Ctx;
use minimall::platform::idempotency::Key;
use tokio::time::Instant;

use super::Row;
use crate::limits::place_order::{CouponTemplate, Statement, Template, Wish};
use crate::support::copies::execute;
use crate::support::fixtures::{self, STORE};
use crate::support::report::{Measured, Target};
use crate::support::services::{Need, Services};
use crate::support::shop::Place;
use crate::support::slices::compare;
use crate::support::statements::recorded;

const PEOPLE: usize = 200;
/// Orders of one turn, and how many are placed at once.
const ORDERS: usize = 600;
const AT_ONCE: usize = 20;
/// Different things that are ordered: the dear ones of the demo, so that three of them bring the coupon to bear.
const SKUS_ORDERED: usize = 5;

const TARGET: Target = Target::RatioAtLeast(0.60);

pub const SQLITE: Row = Row {
    name: "place-order-sqlite",
    what: "place order on SQLite, beside its SQL statements alone",
    needs: &[],
    lines: &[("place-order-sqlite", TARGET)],
    run: |_| Box::pin(async { vec![measure("place-order-sqlite", Services::default()).await] }),
};

pub const MYSQL: Row = Row {
    name: "place-order-mariadb",
    what: "place order on MariaDB, beside its SQL statements alone",
    needs: &[Need::MySql],
    lines: &[("place-order-mariadb", TARGET)],
    run: |services| {
        Box::pin(async move { vec![measure("place-order-mariadb", services.only(&[Need::MySql])).await] })
    },
};

/// What is ready to be placed: a quote, or statements.
type Ready<T> = Arc<Mutex<Vec<T>>>;

async fn measure(name: &str, services: Services) -> Measured {
    let place = Place::on(&services).await;
    let ctx = place.context().await;
    fixtures::shop(&ctx, 4).await;
    fixtures::supply(&ctx, 100_000).await;
    let people = people(&ctx).await;
    let (mut templates, mut sent) = (vec![], vec![]);
    for number in 0..SKUS_ORDERED {
        let first = quote(&ctx, &people[0], number, &format!("template-{number}")).await;
        let (order, statements) = recorded(place_one(&ctx, first)).await;
        templates.push(Arc::new(Template::of(&ctx, &order.expect("a first order")).await));
        sent = statements;
    }
    let wish = grant(&ctx, &people[0], "compared").await;
    let (_, expected) = recorded(run(&ctx, &templates[0], wish, "compared".to_owned())).await;
    let same = match sent == expected {
        true => Ok(format!("{} statements an order, the same in both", sent.len())),
        false => Err(format!("the limit's statements are not the verb's: {}", difference(&sent, &expected))),
    };
    let (ctx, people, templates) = (&ctx, &people, &templates);
    let ours = |turn: usize| async move {
        let mut quotes = Vec::new();
        for number in 0..ORDERS {
            let cause = format!("ours-{turn}-{number}");
            quotes.push(quote(ctx, &people[number % PEOPLE], number, &cause).await);
        }
        let ctx = ctx.clone();
        rate(quotes, move |quote| {
            let ctx = ctx.clone();
            async move { place_one(&ctx, quote).await.map(|_| ()) }
        })
        .await
    };
    let limit = |turn: usize| async move {
        let mut wishes = Vec::new();
        for number in 0..ORDERS {
            let key = format!("limit-{turn}-{number}");
            wishes.push((
                grant(ctx, &people[number % PEOPLE], &key).await,
                key,
                templates[number % SKUS_ORDERED].clone(),
            ));
        }
        let ctx = ctx.clone();
        rate(wishes, move |(wish, key, template)| {
            let ctx = ctx.clone();
            async move { run(&ctx, &template, wish, key).await }
        })
        .await
    };
    let compared = compare(ours, limit).await;
    let checked = match same {
        Ok(_) => place.check().await,
        Err(_) => same.clone(),
    };
    ctx.db.close().await;
    let row = Measured::value(name, compared.value, "orders/s", TARGET)
        .beside(compared.limit, compared.ratio)
        .note(format!("{ORDERS} orders a turn, {AT_ONCE} at once, a coupon each, {}", compared.spread()));
    let row = match &same {
        Ok(note) => row.note(note.clone()),
        Err(_) => row,
    };
    place.give_back().await;
    row.checked(&checked)
}

/// Takes what is ready, so many at once; finished ones a second.
async fn rate<T, F>(ready: Vec<T>, work: impl Fn(T) -> F + Clone + Send + Sync + 'static) -> f64
where
    T: Send + 'static,
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let count = ready.len();
    let ready: Ready<T> = Arc::new(Mutex::new(ready));
    let start = Instant::now();
    let mut lanes = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (ready, work) = (ready.clone(), work.clone());
        lanes.spawn(async move {
            loop {
                let next = ready.lock().expect("no panic").pop();
                let Some(next) = next else { return };
                work(next).await.expect("it is placed");
            }
        });
    }
    lanes.join_all().await;
    count as f64 / start.elapsed().as_secs_f64()
}

/// Somebody with an address.
struct Person {
    user: UserId,
    address: AddressId,
}

struct Quoted {
    user: UserId,
    key: Key,
    token: String,
}

async fn people(ctx: &Ctx) -> Vec<Person> {
    let mut people = Vec::new();
    for number in 0..PEOPLE {
        let user: UserId = ctx.new_id();
        let now_ms = ctx.clock.now_ms();
        let row =
            format!("INSERT INTO users (id, nickname, created_ms) VALUES ('{user}', 'n{number}', {now_ms})");
        execute(ctx, &row).await;
        let openid = format!(
            "INSERT INTO user_openids (appid, openid, user_id, session_key_sealed, signed_in_ms, created_ms) \
             VALUES ('bench', '{user}', '{user}', '', {now_ms}, {now_ms})"
        );
        execute(ctx, &openid).await;
        let draft = addresses::Draft {
            recipient: "林小满".to_owned(),
            phone: Some(Phone::parse("13800138000").expect("a phone number")),
            province: "浙江省".to_owned(),
            city: "杭州市".to_owned(),
            district: "西湖区".to_owned(),
            detail: "文三路 100 号".to_owned(),
            postal_code: None,
            is_default: true,
        };
        let address = addresses::add(ctx, &user, &draft).await.expect("an address").id;
        people.push(Person { user, address });
    }
    people
}

async fn coupon(ctx: &Ctx, user: &UserId, cause: &str) -> CouponId {
    let template = &CouponTemplate::new_user();
    let granted = ctx
        .db
        .write(|tx| {
            Box::pin(async move { coupons::grant(tx, ctx, user, template, Source::Staff, cause).await })
        })
        .await;
    match granted.expect("a grant") {
        Granted::Coupon(coupon) => coupon,
        other => panic!("no coupon: {other:?}"),
    }
}

async fn grant(ctx: &Ctx, person: &Person, cause: &str) -> Wish {
    let coupon = coupon(ctx, &person.user, cause).await;
    Wish {
        user: person.user.as_str().to_owned(),
        address: person.address.as_str().to_owned(),
        coupon: coupon.as_str().to_owned(),
    }
}

async fn quote(ctx: &Ctx, person: &Person, number: usize, cause: &str) -> Quoted {
    let coupon = coupon(ctx, &person.user, cause).await;
    let request = QuoteRequest {
        store_id: StoreId::from_tail(STORE.trim_start_matches("sto_")),
        fulfilment: Fulfilment::Delivery,
        lines: Some(vec![WantedLine { sku_id: sku(number), quantity: 3 }]),
        address_id: Some(person.address.clone()),
        coupon_ids: vec![coupon],
    };
    let quote = orders::quote(ctx, &person.user, &request).await.expect("a quote");
    let key = Key::new(&Actor::User(person.user.clone()), "placeOrder", cause, &quote.token).expect("a key");
    Quoted { user: person.user.clone(), key, token: quote.token }
}

fn sku(number: usize) -> SkuId {
    SkuId::from_tail(&format!("{:0>26}", 1 + number % SKUS_ORDERED))
}

/// Places one order; its id.
async fn place_one(ctx: &Ctx, quoted: Quoted) -> Result<String, Failure> {
    let placed = orders::place(ctx, &quoted.user, &quoted.key, &quoted.token, None).await?;
    Ok(placed.value.order_id.as_str().to_owned())
}

async fn run(ctx: &Ctx, template: &Template, wish: Wish, key: String) -> Result<(), Failure> {
    template.before(&wish, &key).run(&mut *ctx.db.reader().await?).await?;
    let statements: &[Statement] = &template.statements(ctx, &wish, &key);
    ctx.db
        .write(|tx| {
            Box::pin(async move {
                for statement in statements {
                    statement.run(tx).await?;
                }
                Ok(())
            })
        })
        .await
}

fn difference(sent: &[String], expected: &[String]) -> String {
    let at = sent.iter().zip(expected).position(|(sent, expected)| sent != expected);
    let at = at.unwrap_or_else(|| sent.len().min(expected.len()));
    let nth = |list: &[String]| list.get(at).cloned().unwrap_or_else(|| "nothing".to_owned());
    format!("the verb's statement {at} is {:?}, the limit's is {:?}", nth(sent), nth(expected))
}
