#include "postgresql/postgresql.h"

#include <gtest/gtest.h>

#include "postgresql/test_cluster.h"
#include "store/store_conformance.h"

namespace postern::postgresql {
namespace {

using store::Apply;
using store::Outcome;
using store::Store;

class PostgresBackend final : public store::Backend {
 public:
  Result<std::unique_ptr<Store>> open() override {
    return open_store({TestCluster::shared().url(name_), "test", {}, {}});
  }
  Result<std::unique_ptr<Store>> open_after_power_loss() override {
    copy_ = TestCluster::shared().copy();
    return open_store({copy_->url(name_), "test", {}, {}});
  }
  void refuse_metric(const std::string& metric) override {
    TestCluster::shared().run(
        "SET search_path = postern; CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE 'refused by the test'; END$$;"
        " CREATE TRIGGER refuse BEFORE INSERT ON latest_value FOR EACH ROW WHEN (NEW.metric = '" +
            metric + "') EXECUTE FUNCTION refuse()",
        name_);
  }

 private:
  std::string name_ = TestCluster::shared().make_database();
  std::unique_ptr<TestCluster> copy_;
};

using store::StoreConformance;
INSTANTIATE_TEST_SUITE_P(
    Postgresql, StoreConformance,
    testing::Values<store::BackendMaker>([]() -> std::unique_ptr<store::Backend> {
      return std::make_unique<PostgresBackend>();
    }));

}  // namespace
}  // namespace postern::postgresql
