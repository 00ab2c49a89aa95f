#include "postgresql/postgresql.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <thread>

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
    return open_store({.url = TestCluster::shared().url(name_)});
  }
  Result<std::unique_ptr<Store>> open_after_power_loss() override {
    copy_ = TestCluster::shared().copy();
    return open_store({.url = copy_->url(name_)});
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

class PostgresStore : public testing::Test {
 protected:
  static TestCluster& cluster() { return TestCluster::shared(); }
  Options options(const std::string& name = "test") {
    Options options{.url = cluster().url(database_), .application_name = name};
    options.warn = [this](const std::string& words) { warnings_.push_back(words); };
    return options;
  }
  std::unique_ptr<Store> open(const std::string& name = "test") {
    auto store = open_store(options(name));
    if (!store) throw std::runtime_error(store.error().message);
    return std::move(*store);
  }
  std::string ask(const std::string& sql) {
    return cluster().run("SET search_path = postern; " + sql, database_);
  }
  /// Waits for what another thread or process does.
  template <typename Condition>
  static bool comes(Condition&& condition) {
    for (int tries = 0; tries < 2000; ++tries) {
      if (condition()) return true;
      poll(nullptr, 0, 5);
    }
    return false;
  }
  std::vector<std::string> warnings_;
  const std::string database_ = cluster().make_database();
};

Digest hash_of(std::uint64_t n) {
  Digest digest{};
  for (std::size_t i = 0; i < 8; ++i) digest[i] = static_cast<std::byte>(n >> (8 * i));
  return digest;
}

wire::StreamKey stream_of(std::uint8_t node, std::uint32_t epoch = 1) {
  wire::StreamKey key;
  key.node.bytes.fill(static_cast<std::byte>(node));
  key.epoch = {epoch, 7};
  return key;
}

Apply batch(const wire::StreamKey& stream, std::uint64_t n, std::size_t bytes = 100) {
  Apply apply;
  apply.header.stream = stream;
  apply.header.sequence = n;
  apply.header.previous = hash_of(n - 1);
  apply.hash = hash_of(n);
  apply.message = std::make_shared<const Bytes>(bytes);
  apply.arrived = wall_from_ms(static_cast<std::int64_t>(n * 1000));
  apply.effects.values.push_back({"shared", "1", "{}", static_cast<double>(n), false, {}});
  apply.effects.values.push_back({fmt::format("own {}", n % 5), "1", "{}", 1, false, {}});
  apply.effects.entities.push_back({"host", "{}", fmt::format("{}", n), {}});
  return apply;
}

std::vector<wire::Interval> one_to(std::uint64_t last) { return {{1, last, hash_of(last)}}; }

TEST_F(PostgresStore, TwoServersThatApplyTheSameBatchesAtTheSameTimeApplyThemOnce) {
  constexpr std::uint8_t kNodes = 4;
  constexpr std::uint64_t kBatches = 60;
  std::atomic<int> applied = 0, duplicates = 0;
  const auto serve = [&](const std::string& name, std::uint64_t turn, bool backwards) {
    const auto store = open(name);
    for (std::uint64_t from = 1; from <= kBatches; from += turn) {
      std::vector<Apply> batches;
      for (std::uint64_t n = from; n < std::min(from + turn, kBatches + 1); ++n)
        for (std::uint8_t node = 1; node <= kNodes; ++node)
          batches.push_back(batch(stream_of(node), n));
      if (backwards) std::ranges::reverse(batches);
      const auto outcomes = store->apply(batches);
      ASSERT_TRUE(outcomes) << outcomes.error().message;
      applied += static_cast<int>(std::ranges::count(*outcomes, Outcome::applied));
      duplicates += static_cast<int>(std::ranges::count(*outcomes, Outcome::duplicate));
    }
  };
  open();  // the schema
  std::thread first(serve, "first", 3, false), second(serve, "second", 4, true);
  first.join();
  second.join();
  EXPECT_EQ(applied, kNodes * static_cast<int>(kBatches));
  EXPECT_EQ(duplicates, applied) << "each came twice";
  const auto store = open();
  for (std::uint8_t node = 1; node <= kNodes; ++node) {
    EXPECT_EQ(store->applied(stream_of(node)).value().intervals, one_to(kBatches));
    EXPECT_EQ(store->archive(stream_of(node).node, 1000).value().size(), kBatches);
    const auto values = store->latest(stream_of(node).node).value();
    ASSERT_EQ(values.size(), 6u);
    EXPECT_EQ(values.back().value, static_cast<double>(kBatches)) << "the newest stays";
  }
  EXPECT_EQ(ask("SELECT sum(value) FROM (SELECT value FROM counter WHERE name = 'archive_bytes'"
                " UNION ALL SELECT value FROM counted) c"),
            fmt::format("{}", 100 * kNodes * kBatches));
}

// Each of the two streams comes to one server only: the same lock must stand between them.
TEST_F(PostgresStore, WhatWasSealedAgainTakesEffectOnceAtTwoServers) {
  constexpr std::uint64_t kBatches = 40;
  std::atomic<int> applied = 0, without = 0;
  const auto serve = [&](const std::string& name, bool again) {
    const auto store = open(name);
    for (std::uint64_t n = 1; n <= kBatches; ++n) {
      Apply one = batch(stream_of(1, again ? 2 : 1), n);
      if (again) {
        one.effects.first_sealed = {stream_of(1, 1), n, one.hash};
        one.hash = hash_of(n + 1000);
        one.header.previous = n == 1 ? Digest{} : hash_of(n + 999);
      }
      const auto outcomes = store->apply(std::span(&one, 1));
      ASSERT_TRUE(outcomes) << outcomes.error().message;
      applied += (*outcomes)[0] == Outcome::applied ? 1 : 0;
      without += (*outcomes)[0] == Outcome::no_effect ? 1 : 0;
    }
  };
  open();
  std::thread first(serve, "first", false), second(serve, "second", true);
  first.join();
  second.join();
  EXPECT_EQ(applied, static_cast<int>(kBatches));
  EXPECT_EQ(without, static_cast<int>(kBatches));
}

TEST_F(PostgresStore, TwoServersThatNoteTheSameAtTheSameTimeDoNotDoubleIt) {
  const auto serve = [&](const std::string& name) {
    const auto store = open(name);
    for (int n = 0; n < 50; ++n) {
      store::Alert alert;
      alert.cause = fmt::format("cause {}", n);
      ASSERT_TRUE(store->raise_alert(alert));
      ASSERT_TRUE(store->next_document_number(3));
      store::JoinUse use;
      use.token = "aa";
      use.node = stream_of(name == "first" ? 1 : 2).node;
      use.number = n + 1;
      ASSERT_TRUE(store->use_join_token(use, {}));
    }
  };
  store::JoinToken token;
  token.id = "aa";
  token.uses_max = 1;
  ASSERT_TRUE(open()->add_join_token(token, {}));
  std::thread first(serve, "first"), second(serve, "second");
  first.join();
  second.join();
  const auto store = open();
  const auto alerts = store->alerts(true, 1000).value();
  EXPECT_EQ(alerts.size(), 50u);
  EXPECT_EQ(std::ranges::count(alerts, 2u, &store::Alert::count), 50);
  EXPECT_EQ(store->next_document_number(3).value(), 101u);
  EXPECT_EQ(store->join_token("aa").value()->uses, 1u) << "the limit counts for both together";
}

TEST_F(PostgresStore, ADeadlockIsSolvedByBeginningAnew) {
  cluster().run("ALTER DATABASE " + database_ + " SET deadlock_timeout = '300ms'");
  auto store = open();
  ASSERT_TRUE(store->apply(std::vector{batch(stream_of(1), 1)}));
  std::thread other([&] {
    ask("SET deadlock_timeout = '60s';"
        " DO $$BEGIN PERFORM 1 FROM entity FOR UPDATE;"
        "  WHILE NOT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted) LOOP"
        "   PERFORM pg_sleep(0.005); END LOOP;"
        "  PERFORM 1 FROM stream FOR UPDATE; END$$");
  });
  ASSERT_TRUE(comes(
      [&] { return ask("SELECT 1 FROM pg_locks WHERE relation = 'entity'::regclass") == "1"; }));
  const auto outcomes = store->apply(std::vector{batch(stream_of(1), 2)});
  other.join();
  ASSERT_TRUE(outcomes) << outcomes.error().message;
  EXPECT_EQ(*outcomes, std::vector{Outcome::applied});
  store.reset();  // its session tells what it counted when it ends
  EXPECT_TRUE(comes([&] {
    return ask("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == "1";
  }));
}

TEST_F(PostgresStore, ABackendKilledInATransactionIsUnavailableOnceAndNothingIsHalfApplied) {
  const auto store = open("victim");
  ASSERT_TRUE(store->apply(std::vector{batch(stream_of(1), 1)}));
  // The last thing that the transaction writes waits for this lock.
  auto holder = std::thread([&] {
    EXPECT_ANY_THROW(ask("BEGIN; SELECT * FROM entity FOR UPDATE; SELECT pg_sleep(600)"));
  });
  ASSERT_TRUE(comes(
      [&] { return ask("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "1"; }));
  Result<std::vector<Outcome>> outcome;
  auto apply = std::thread([&] {
    outcome = store->apply(std::vector{batch(stream_of(1), 2), batch(stream_of(1), 3)});
  });
  std::string victim;
  ASSERT_TRUE(comes([&] {
    victim =
        ask("SELECT pid FROM pg_stat_activity WHERE application_name = 'victim'"
            " AND wait_event_type = 'Lock'");
    return !victim.empty();
  }));
  kill(std::stoi(victim), SIGKILL);  // PostgreSQL ends all its processes and recovers
  apply.join();
  holder.join();
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Errc::unavailable) << outcome.error().message;
  ASSERT_TRUE(comes([&] { return store->setting("it is back").has_value(); }));
  EXPECT_EQ(store->applied(stream_of(1)).value().intervals, one_to(1));
  EXPECT_EQ(store->archive(stream_of(1).node, 10).value().size(), 1u);
  EXPECT_EQ(store->apply(std::vector{batch(stream_of(1), 2), batch(stream_of(1), 3)}).value(),
            (std::vector{Outcome::applied, Outcome::applied}));
}

TEST_F(PostgresStore, ConnectionsCutAtAnyMomentLoseAndDoubleNothing) {
  constexpr std::uint64_t kBatches = 150;
  const auto store = open("victim");
  std::atomic<bool> done = false;
  std::thread knife([&] {
    while (!done) {
      ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
          " WHERE application_name = 'victim' AND state <> 'idle'");
      poll(nullptr, 0, 3);
    }
  });
  int cut = 0;
  for (std::uint64_t n = 1; n <= kBatches;) {
    const auto outcome = store->apply(std::vector{batch(stream_of(1), n), batch(stream_of(2), n)});
    if (outcome) {
      EXPECT_EQ((*outcome)[0], (*outcome)[1]) << "both or none";
      ++n;
    } else {
      EXPECT_EQ(outcome.error().code, Errc::unavailable) << outcome.error().message;
      ++cut;
    }
  }
  done = true;
  knife.join();
  EXPECT_GT(cut, 0) << "the knife missed each time";
  for (const std::uint8_t node : {std::uint8_t{1}, std::uint8_t{2}}) {
    EXPECT_EQ(store->applied(stream_of(node)).value().intervals, one_to(kBatches));
    EXPECT_EQ(store->archive(stream_of(node).node, 1000).value().size(), kBatches);
  }
}

TEST_F(PostgresStore, ADatabaseThatWasAwayWhileNothingWasAskedIsNotNoticed) {
  const auto own = std::make_unique<TestCluster>();
  const std::string name = own->make_database();
  auto store = std::move(open_store({.url = own->url(name), .application_name = "test"}).value());
  ASSERT_TRUE(store->apply(std::vector{batch(stream_of(1), 1)}));
  own->stop();
  const auto away = store->apply(std::vector{batch(stream_of(1), 2)});
  ASSERT_FALSE(away);
  EXPECT_EQ(away.error().code, Errc::unavailable);
  EXPECT_NE(away.error().message.find("no connection"), std::string::npos) << away.error().message;
  own->start();
  EXPECT_EQ(store->apply(std::vector{batch(stream_of(1), 2)}).value(),
            std::vector{Outcome::applied});
  own->stop();
  own->start();
  const auto applied = store->applied(stream_of(1));
  ASSERT_TRUE(applied) << applied.error().message;
  EXPECT_EQ(applied->intervals, one_to(2));
}

TEST_F(PostgresStore, PartsOfTheArchiveAreClosedWhenTheyAreLargeAndDroppedWhenTheyAreEmpty) {
  Options small = options();
  small.part_bytes_max = 1 << 20;
  small.tidy_every_bytes = 1;
  auto store = std::move(open_store(small).value());
  const auto parts = [&] {
    return ask("SELECT count(*) FROM pg_inherits WHERE inhparent = 'archive_message'::regclass");
  };
  for (std::uint64_t n = 1; n <= 6; ++n) {
    ASSERT_TRUE(store->apply(std::vector{batch(stream_of(1), n, 600'000)}));
    ASSERT_TRUE(store->tidy());
  }
  EXPECT_EQ(parts(), "4") << "three with two batches each, and the next";
  EXPECT_EQ(store->archive(stream_of(1).node, 10).value().size(), 6u);
  EXPECT_EQ(ask("SELECT count(*) FROM counted"), "0") << "folded";
  EXPECT_EQ(store->trim_archive(wall_from_ms(4000), 1u << 30, 100).value(), 3u);
  ASSERT_TRUE(store->tidy());
  EXPECT_EQ(parts(), "3") << "the second part holds batch 4";
  EXPECT_EQ(store->archive(stream_of(1).node, 10).value().size(), 3u);
  EXPECT_EQ(store->archived(stream_of(1), 4).value()->message->size(), 600'000u);
  EXPECT_FALSE(store->archived(stream_of(1), 3).value());
  EXPECT_EQ(store->trim_archive(wall_from_ms(0), 0, 100).value(), 3u);
  ASSERT_TRUE(store->tidy());
  EXPECT_EQ(parts(), "1") << "the one that is written to stays";
  EXPECT_EQ(store->apply(std::vector{batch(stream_of(1), 7)}).value(),
            std::vector{Outcome::applied});
  EXPECT_EQ(store->trim_archive(wall_from_ms(0), 1000, 100).value(), 0u) << "100 bytes are left";
}

TEST_F(PostgresStore, WarnsOfWhatThePromisesRestOn) {
  open();
  EXPECT_TRUE(warnings_.empty()) << warnings_.front();
  cluster().run("ALTER DATABASE " + database_ + " SET synchronous_commit = off");
  open();
  ASSERT_EQ(warnings_.size(), 1u);
  EXPECT_NE(warnings_[0].find("synchronous_commit is off"), std::string::npos) << warnings_[0];
  warnings_.clear();

  const std::string latin = database_ + "_latin";
  cluster().run("CREATE DATABASE " + latin + " ENCODING 'LATIN1' TEMPLATE template0");
  Options options = this->options();
  options.url = cluster().url(latin);
  ASSERT_TRUE(open_store(options));
  ASSERT_EQ(warnings_.size(), 1u);
  EXPECT_NE(warnings_[0].find("LATIN1, not UTF8"), std::string::npos) << warnings_[0];
}

TEST_F(PostgresStore, APasswordInTheUrlIsRefusedAndNotRepeated) {
  for (const std::string url :
       {"postgresql://postern:hush@db.example/postern", "postgresql://db.example/p?password=hush",
        "host=db.example password=hush", "postgresql://postern:hush@[db.example/postern"}) {
    const auto store = open_store({.url = url});
    ASSERT_FALSE(store) << url;
    EXPECT_EQ(store.error().code, Errc::invalid);
    EXPECT_EQ(store.error().message.find("hush"), std::string::npos) << store.error().message;
  }
}

TEST_F(PostgresStore, ThePasswordIsAskedForAtEachConnectionAndItsErrorIsOurs) {
  Options options = this->options();
  options.password = [] { return fail(Errc::denied, "/secret has mode 0644"); };
  const auto store = open_store(options);
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Errc::denied);
  EXPECT_NE(store.error().message.find("/secret has mode 0644"), std::string::npos);
}

TEST_F(PostgresStore, RefusesAStoreOfANewerProgramAndSaysSo) {
  open();
  ask("INSERT INTO migration (number) VALUES (99)");
  const auto store = open_store(options());
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Errc::invalid);
  EXPECT_NE(store.error().message.find("version 99"), std::string::npos) << store.error().message;
}

TEST_F(PostgresStore, RefusesSomebodyElsesSchemaAndLeavesItAsItWas) {
  cluster().run("CREATE SCHEMA postern; CREATE TABLE postern.theirs (a int)", database_);
  EXPECT_EQ(open_store(options()).error().code, Errc::invalid);
  EXPECT_EQ(ask("SELECT count(*) FROM pg_class WHERE relnamespace = 'postern'::regnamespace"), "1");
}

TEST_F(PostgresStore, OneWhoMayNotIsDeniedAndOneWithNoMoreThanTheSchemaIsEnough) {
  const std::string role = "role_of_" + database_;
  cluster().run("CREATE ROLE " + role + " LOGIN");
  Options options = this->options();
  options.url = cluster().url(database_) + "&user=" + role;
  EXPECT_EQ(open_store(options).error().code, Errc::denied) << "no schema, and may not make one";
  cluster().run("CREATE SCHEMA postern AUTHORIZATION " + role, database_);
  const auto store = open_store(options);
  ASSERT_TRUE(store) << store.error().message;
  EXPECT_EQ((*store)->apply(std::vector{batch(stream_of(1), 1)}).value(),
            std::vector{Outcome::applied});
}

TEST_F(PostgresStore, RowsThatContradictEachOtherAreAnErrorNotAnAbort) {
  const auto store = open();
  ASSERT_TRUE(store->apply(std::vector{batch(stream_of(1), 1)}));
  ask("UPDATE applied_range SET last = 0");
  EXPECT_EQ(store->applied(stream_of(1)).error().code, Errc::corrupt);
  EXPECT_EQ(store->apply(std::vector{batch(stream_of(1), 2)}).error().code, Errc::corrupt);
}

TEST_F(PostgresStore, TextLongerThanAnIndexHoldsIsTaken) {
  const auto store = open();
  Apply long_one = batch(stream_of(1), 1);
  std::string noise;  // that does not compress
  for (std::uint32_t n = 0, x = 1; n < 20'000; ++n)
    noise += static_cast<char>((x = x * 69069 + 1) >> 24);
  long_one.effects.values.push_back({noise, "1", noise, 1, false, {}});
  long_one.effects.entities.push_back({noise, noise, "{}", {}});
  EXPECT_EQ(store->apply(std::vector{long_one}).value(), std::vector{Outcome::applied});
  EXPECT_EQ(store->latest(stream_of(1).node).value().size(), 3u);
}

TEST_F(PostgresStore, NoDatabaseIsUnavailableAndSaysWhere) {
  const auto store = open_store({.url = "postgresql:///none?host=/nowhere"});
  ASSERT_FALSE(store);
  EXPECT_EQ(store.error().code, Errc::unavailable);
  EXPECT_NE(store.error().message.find("/nowhere"), std::string::npos) << store.error().message;
}

}  // namespace
}  // namespace postern::postgresql
