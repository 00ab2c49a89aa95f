#include "node/certificate_hook.h"

#include <sys/stat.h>

#include <algorithm>

#include "node/hook_runner.h"

namespace postern::node {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLookMin = std::chrono::seconds(1);
constexpr milliseconds kLookMax = std::chrono::hours(1);  // clocks are set

}  // namespace

CertificateHook::CertificateHook(Loop& core, Workers& workers, const Clock& clock, Random& random,
                                 const Log& log, Facts facts)
    : core_(core),
      clock_(clock),
      log_(log),
      facts_(std::move(facts)),
      times_(random),
      worker_(workers.start("hook")) {
  if (auto safe = check_hook_program(facts_.command.front()); !safe)
    log_.error("certificates.hook would not be run: {}", safe.error().message);
}

CertificateHook::~CertificateHook() { *stop_ = true; }

void CertificateHook::use(const Certificate& leaf) {
  not_after_ = leaf.not_after();
  times_.use(leaf.not_before(), leaf.not_after());
  look();
}

void CertificateHook::issued_elsewhere() {
  times_.issued_elsewhere();
  look();
}

void CertificateHook::look() {
  const WallTime now = clock_.wall();
  if (times_.is_due(now)) run();
  timer_ = core_.after(std::clamp<milliseconds>(times_.due() - now, kLookMin, kLookMax),
                       [this] { look(); });
}

void CertificateHook::run() {
  times_.started();
  HookRun run{facts_.command,
              {{"POSTERN_NAME", facts_.name},
               {"POSTERN_ROLE", facts_.role},
               {"POSTERN_STATE", facts_.state.string()},
               {"POSTERN_CERTIFICATES_FOLDER", facts_.folder.string()},
               {"POSTERN_NOT_AFTER", to_rfc3339(not_after_)}}};
  log_.info("the certificate is valid until {}: {} is run", to_rfc3339(not_after_),
            facts_.command.front());
  worker_->post([this, run = std::move(run), stop = stop_, &core = core_, &clock = clock_,
                 &log = log_] {
    if (*stop) return;
    auto done = check_hook_program(run.command.front());
    if (done)
      done = run_hook(run, clock, *stop,
                      [&log](std::string_view line) { log.info("certificates.hook: {}", line); });
    if (*stop) return;
    if (done)
      log.info("{} is done; what it left in the folder is looked at", run.command.front());
    else
      log.error("certificates.hook: {}; it is tried again later", done.error().message);
    core.post([this, stop] {
      if (*stop) return;
      times_.ended(clock_.wall());
      look();
    });
  });
}

void keep_hook(std::unique_ptr<CertificateHook>& hook, Loop& core, Workers& workers,
               const Clock& clock, Random& random, const Log& log,
               const CertificateSettings& settings, const std::filesystem::path& state,
               const std::string& name, const std::string& role, const Certificate& leaf) {
  const CertificateHook::Facts facts{settings.hook, settings.folder, state, name, role};
  if (settings.hook.empty()) return hook.reset();
  if (!hook || hook->facts() != facts) {
    hook.reset();  // its run is over before another one begins
    hook = std::make_unique<CertificateHook>(core, workers, clock, random, log, facts);
  }
  hook->use(leaf);
  if (!settings.renew) hook->issued_elsewhere();
}

Result<> check_hook(const CertificateSettings& settings, const std::filesystem::path& state) {
  if (settings.hook.empty()) return {};
  struct stat status {};
  std::optional<unsigned> owner;
  if (::stat(state.c_str(), &status) == 0) owner = status.st_uid;
  if (auto safe = check_hook_program(settings.hook.front(), owner); !safe)
    return fail(safe.error(), "certificates.hook");
  return {};
}

}  // namespace postern::node
