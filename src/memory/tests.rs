#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;

const MIB: u64 = 1024 * 1024;
const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn gives_back_everything() {
    let budget = Budget::new(4 * MIB);
    let admission = budget.admit(LONG).await.unwrap();
    let mut grant = budget.grant(MIB, LONG).await.unwrap();
    assert_eq!(budget.in_use(), MIB + FIRST_MEMORY);
    grant.shrink_to(UNIT + 1);
    assert_eq!(grant.bytes(), 2 * UNIT);
    assert_eq!(budget.in_use(), 2 * UNIT + FIRST_MEMORY);
    drop((admission, grant));
    assert_eq!(budget.in_use(), 0);
    assert!(!budget.contended());
}

#[tokio::test]
async fn admissions_leave_half_of_the_budget() {
    let budget = Budget::new(2 * MIB);
    let mut admissions = Vec::new();
    while let Ok(admission) = budget.admit(Duration::from_millis(10)).await {
        admissions.push(admission);
    }
    assert_eq!(budget.in_use(), MIB);
    let part = budget
        .grant(budget.largest_part(), Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(part.bytes(), 512 * 1024);
}

#[tokio::test]
async fn set_aside_memory_is_not_granted_and_a_part_fits_besides_all_admissions() {
    // The last one leaves no reserve.
    for (part, aside, reserve, admitted) in
        [(256, 512, 256, 6), (256, 1024, 256, 2), (512, 1024, 0, 4)]
    {
        let budget = Budget::for_parts(2 * MIB, part * 1024, HOLD);
        assert!(budget.set_aside(aside * 1024));
        assert_eq!((budget.in_use(), budget.total()), (0, 2 * MIB));
        assert_eq!(budget.recallable(), reserve * 1024);
        let left = 2 * MIB - aside * 1024;
        assert!(budget.grant(left + 1, LONG).await.is_err());
        drop(budget.grant(left, Duration::ZERO).await.unwrap());
        let mut admissions = Vec::new();
        while let Ok(admission) = budget.admit(Duration::from_millis(10)).await {
            admissions.push(admission);
        }
        assert_eq!(admissions.len(), admitted);
        let part = budget.part(budget.largest_part(), Duration::ZERO).await;
        part.unwrap();
        assert!(budget.can_hold(budget.largest_part()));
    }
    // Transfers keep half, and it can't be set aside while they hold it.
    let budget = Budget::new(2 * MIB);
    assert!(!budget.set_aside(MIB + 1));
    assert!(budget.set_aside(MIB / 2));
    assert!(!budget.set_aside(MIB / 2 + 1));
    let all = budget.grant(3 * MIB / 2, LONG).await.unwrap();
    assert!(!budget.set_aside(MIB / 2));
    drop(all);
    assert!(budget.set_aside(MIB / 2));
}

#[tokio::test]
async fn parts_leave_memory_for_admissions_and_for_the_reserve() {
    let budget = Budget::for_parts(16 * MIB, 2 * MIB, HOLD);
    let mut parts = Vec::new();
    while let Ok(part) = budget.part(MIB, Duration::ZERO).await {
        parts.push(part);
    }
    assert_eq!(
        parts.len(),
        16 - 2 - 2,
        "the reserve and an eighth stay free"
    );
    assert!(budget.try_grant(UNIT).is_none());
    let mut waiting = Box::pin(budget.part(MIB, LONG));
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    // They overtake requests for parts, and leave the reserve alone.
    let mut admissions = Vec::new();
    while let Ok(admission) = budget.admit(Duration::ZERO).await {
        admissions.push(admission);
    }
    assert_eq!(admissions.len() as u64, 2 * MIB / FIRST_MEMORY);
    let recalled = budget.recall(2 * MIB).await.unwrap();
    assert!(budget.try_recall(UNIT).is_none());
    let mut next = Box::pin(budget.recall(MIB));
    assert!(futures::poll!(next.as_mut()).is_pending());
    assert_eq!(budget.in_use(), budget.total());
    drop(recalled);
    drop(next.await.unwrap());
    // Memory that a part gives back goes to admissions first.
    let mut admission = Box::pin(budget.admit(LONG));
    assert!(futures::poll!(admission.as_mut()).is_pending());
    parts.pop();
    admission.await.unwrap();
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    admissions.clear();
    waiting.await.unwrap();
}

#[tokio::test]
async fn the_largest_part_that_can_be_held_is_granted_next_to_one_admission() {
    for (total, part, aside) in [(16, 2, 0), (20, 5, 4), (2, 1, 1)] {
        let budget = Budget::for_parts(total * MIB, part * MIB, HOLD);
        assert!(budget.set_aside(aside * MIB));
        let _own = budget.admit(Duration::ZERO).await.unwrap();
        let mut units = 0;
        while budget.can_hold((units + 1) * UNIT) {
            units += 1;
        }
        assert!(budget.part(units * UNIT, Duration::ZERO).await.is_ok());
        let more = budget.part(units * UNIT + 1, Duration::ZERO).await;
        assert!(more.is_err(), "{total}");
    }
}

#[tokio::test]
async fn holders_are_pressed_when_others_wait_and_they_have_held_for_long() {
    let hold = Duration::from_millis(200);
    let budget = Budget::for_parts(16 * MIB, 2 * MIB, hold);
    let held = budget.part(12 * MIB, LONG).await.unwrap();
    let since = Instant::now();
    let mut pressed = Box::pin(budget.pressed(since));
    assert!(
        timeout(2 * hold, pressed.as_mut()).await.is_err(),
        "no other transfer waits"
    );
    let again = Instant::now();
    let mut young = Box::pin(budget.pressed(again));
    assert!(futures::poll!(young.as_mut()).is_pending());
    let mut waiting = Box::pin(budget.part(MIB, LONG));
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    pressed.await;
    young.await;
    assert!(again.elapsed() >= hold);
    drop(held);
    waiting.await.unwrap();
    let mut pressed = Box::pin(budget.pressed(since));
    assert!(futures::poll!(pressed.as_mut()).is_pending());
}

#[tokio::test]
async fn a_request_that_waits_for_an_admission_presses_no_part() {
    let budget = Budget::for_parts(2 * MIB, 256 * 1024, Duration::ZERO);
    let mut admissions = Vec::new();
    while let Ok(admission) = budget.admit(Duration::ZERO).await {
        admissions.push(admission);
    }
    let mut waiting = Box::pin(budget.admit(LONG));
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    assert!(budget.contended() && !budget.pressing());
    drop(budget.try_grant(UNIT).expect("it waits for no memory"));
    admissions.pop();
    waiting.await.unwrap();
}

#[tokio::test]
async fn more_than_the_budget_fails_at_once() {
    let budget = Budget::new(MIB);
    assert_eq!(budget.grant(2 * MIB, LONG).await.unwrap_err(), Exhausted);
    assert!(budget.try_grant(2 * MIB).is_none());
}

#[tokio::test]
async fn serves_in_order_and_forgets_dropped_requests() {
    let budget = Budget::new(MIB);
    let all = budget.grant(MIB, LONG).await.unwrap();
    let mut left = Box::pin(budget.grant(MIB, LONG));
    assert!(futures::poll!(left.as_mut()).is_pending());
    let mut large = Box::pin(budget.grant(768 * 1024, LONG));
    assert!(futures::poll!(large.as_mut()).is_pending());
    let mut small = Box::pin(budget.grant(512 * 1024, LONG));
    assert!(futures::poll!(small.as_mut()).is_pending());
    assert!(budget.contended());
    assert_eq!(budget.in_use(), MIB);
    drop(left);
    drop(all);
    assert!(
        budget.try_grant(UNIT).is_none(),
        "no request takes the turn of those that wait"
    );
    // The small request came after the large one and must not overtake it, though it would fit.
    assert!(futures::poll!(small.as_mut()).is_pending());
    let large = large.await.unwrap();
    assert!(futures::poll!(small.as_mut()).is_pending());
    drop(large);
    drop(small.await.unwrap());
    assert_eq!(budget.in_use(), 0);
    assert!(!budget.contended());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_uploads_make_progress() {
    let budget = Budget::new(64 * MIB);
    let mut uploads = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let budget = budget.clone();
        uploads.spawn(async move {
            let _admission = budget.admit(LONG).await.unwrap();
            for _ in 0..5 {
                let _part = budget.part(8 * MIB, LONG).await.unwrap();
                assert!(budget.in_use() <= budget.total());
                tokio::task::yield_now().await;
            }
        });
    }
    while let Some(done) = uploads.join_next().await {
        done.unwrap();
    }
    assert_eq!(budget.in_use(), 0);
    assert!(!budget.contended());
}

#[tokio::test]
async fn chunks_are_used_again_and_stay_within_the_budget() {
    let budget = Budget::new(2 * MIB);
    let mut buffer = budget.chunk();
    buffer.extend_from_slice(b"abc");
    let address = buffer.as_ptr();
    let bytes = budget.recycle(buffer);
    let copy = bytes.slice(1..);
    drop(bytes);
    assert_eq!(&copy[..], b"bc");
    assert_eq!(budget.inner.idle().len(), 0);
    drop(copy);
    let again = budget.chunk();
    assert!(again.is_empty());
    assert_eq!(again.as_ptr(), address);
    drop(budget.recycle(again));
    assert_eq!(budget.inner.idle().len(), 1);
    let _all = budget.grant(2 * MIB, LONG).await.unwrap();
    assert_eq!(
        budget.inner.idle().len(),
        0,
        "held memory and idle chunks are within the budget"
    );
}
