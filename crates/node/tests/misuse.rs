//! Wrong orders of starting a node do not compile.

#[test]
fn wrong_orders_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/misuse/*.rs");
}
