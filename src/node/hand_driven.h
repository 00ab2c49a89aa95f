#pragma once

// Surroundings without threads and sockets, for tests: workers that work when they are told to, a
// network that writes down who dials and listens, samplers that sample when they are told to.

#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/worker.h"
#include "net/network.h"
#include "node/sampler.h"

namespace postern::testing_support {

class HandDrivenWorkers final : public Workers {
 public:
  std::unique_ptr<Worker> start(const std::string& name) override {
    auto worker = std::make_unique<Queue>(*this);
    started.push_back(name);
    queues_.push_back(worker.get());
    return worker;
  }
  /// One task of the worker that was started first and has any; false when none has.
  bool run_one() {
    for (Queue* queue : queues_)
      if (queue->run_one()) return true;
    return false;
  }

  std::vector<std::string> started;  // names

 private:
  class Queue final : public Worker {
   public:
    explicit Queue(HandDrivenWorkers& workers) : workers_(workers) {}
    ~Queue() override {
      while (run_one()) {
      }
      std::erase(workers_.queues_, this);
    }
    void post(std::move_only_function<void()> task) override { tasks_.push_back(std::move(task)); }
    bool run_one() {
      if (tasks_.empty()) return false;
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      task();
      return true;
    }

   private:
    HandDrivenWorkers& workers_;
    std::deque<std::move_only_function<void()>> tasks_;
  };
  std::vector<Queue*> queues_;
};

/// Dials wait in `dials` until the test answers them (on the core loop, as a dialer does).
class HandDrivenNetwork final : public Network {
 public:
  struct Dial {
    DialRequest request;
    std::function<void(const DialResult&)> done;
  };
  std::unique_ptr<postern::Dialer> make_dialer() override {
    return std::make_unique<Dialer>(*this);
  }
  Result<std::unique_ptr<postern::Port>> listen(std::shared_ptr<const TlsContext>,
                                                PortHandler& handler,
                                                PortOptions options) override {
    port_handler = &handler;
    return std::make_unique<Port>(options.port);
  }
  Result<std::shared_ptr<const TlsContext>> make_tls(std::optional<TlsCredential> credential,
                                                     Anchors anchors,
                                                     TlsContext::Options options) override {
    return TlsContext::without_sockets(std::move(credential), std::move(anchors),
                                       std::move(options));
  }

  std::vector<Dial> dials;
  PortHandler* port_handler = nullptr;  // of whoever listened last

 private:
  class Dialer final : public postern::Dialer {
   public:
    explicit Dialer(HandDrivenNetwork& network) : network_(network) {}
    ~Dialer() override { network_.dials.clear(); }
    void dial(DialRequest request, std::function<void(const DialResult&)> done) override {
      network_.dials.push_back({std::move(request), std::move(done)});
    }

   private:
    HandDrivenNetwork& network_;
  };
  class Port final : public postern::Port {
   public:
    explicit Port(std::uint16_t port) : port_(port) {}
    std::uint16_t port() const override { return port_; }
    void set_tls(std::shared_ptr<const TlsContext>) override {}
    void authenticated(const Channel&) override {}
    void extend(const Channel&, Duration) override {}
    PortCounters counters() const override { return {}; }

   private:
    const std::uint16_t port_;
  };
};

class HandDrivenSamplers final : public node::Samplers {
 public:
  std::unique_ptr<node::Sampler> start(Loop&, const Log&, const node::Self&, const Sampling&,
                                       node::Sampler::OwnHealth own_health,
                                       node::Sampler::Done done) override {
    health_ = std::move(own_health);
    done_ = std::move(done);
    return std::make_unique<Quiet>();
  }
  void hand_over(node::Sampler::Sample sample) { done_(std::move(sample)); }
  std::vector<Measurement> own_health() { return health_(); }

 private:
  class Quiet final : public node::Sampler {
   public:
    void set(const Sampling&) override {}
    void state_all() override {}
  };
  node::Sampler::OwnHealth health_;
  node::Sampler::Done done_;
};

}  // namespace postern::testing_support
