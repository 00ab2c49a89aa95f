#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "identity/check.h"
#include "node/self.h"

namespace postern::node {

inline constexpr std::string_view kCertificateContext = "postern certificate v1";
inline constexpr std::size_t kCertificateRequestBytesMax = 16u << 10;  // channel.md#W56

/// When a node asks for its next certificate, with which key, and which answer it takes (rule T6).
/// Decides only: whoever owns it has the clock, the channel and the disk.
///
/// It asks when half of the certificate's life is over, up to a tenth of it later, so that a fleet
/// that was set up in one hour does not come back in one minute; then again and again with the same
/// key, at growing distances, until it has one.
class Renewal {
 public:
  /// How long one question waits for its answer.
  static constexpr Duration kAnswerMax = std::chrono::seconds(30);
  // Between questions: at first a hundredth of the life, at most a twentieth, within these.
  static constexpr std::chrono::milliseconds kRetryMin{1000};
  static constexpr std::chrono::milliseconds kRetryMax = std::chrono::hours(24);
  static constexpr std::chrono::milliseconds kRetryMaxWhenOver = std::chrono::minutes(5);

  Renewal(const Self& self, Random& random) : self_(self), random_(random) {}

  /// The certificate in use; again whenever it is another one.
  void use(const Certificate& leaf);
  /// The one in use is not good any more, or will not be for long, however young it is: another one
  /// is asked for at some time within `spread` from now, and need not live longer. Until use() of
  /// another one it is asked for as often as if this one had ended.
  void hurry(WallTime now, std::chrono::milliseconds spread);
  bool hurries() const { return hurries_; }

  /// When it asks next, as long as nothing else is told. By the wall clock: that is what
  /// certificates live by.
  WallTime due() const { return due_; }

  /// The kind of key to make before ask(), which has none: made elsewhere, as it takes its time.
  std::optional<TlsKey::Kind> wants_key(WallTime now) const;
  void take_key(TlsKey key);
  /// The body of a request (W56), when it is time and there is a key; nothing else.
  std::optional<std::string> ask(WallTime now);

  /// The credential to install: what the reply holds, if it leads from our new key and our name to
  /// an anchor and lives longer than what is in use (but see hurry()). Otherwise the error, and the
  /// next question is due later.
  Result<TlsCredential> on_reply(const std::vector<Certificate>& chain, const Anchors& anchors,
                                 WallTime now);
  /// The server's no, or nothing at all: `not_before_this` is its own word for when to come again.
  void failed(WallTime now, std::chrono::milliseconds not_before_this = {});
  /// Nobody could be asked: again soon.
  void not_asked(WallTime now);
  /// The certificate in use has ended: nobody lets us in with it any more.
  bool over(WallTime now) const { return leaf_ && now > leaf_->not_after(); }
  /// In a row, since use() of the one that is in use.
  std::uint32_t failures() const { return failures_; }

 private:
  std::chrono::milliseconds life() const;

  const Self& self_;
  Random& random_;
  std::optional<Certificate> leaf_;
  std::optional<TlsKey> next_;  // the key that is asked for, kept over retries
  std::string csr_;
  WallTime due_ = WallTime::max();
  bool hurries_ = false;
  std::uint32_t failures_ = 0;
  std::chrono::milliseconds wait_{};
};

/// What a request says, verified: signed by the identity key that it names nowhere but in `key`.
struct CertificateAsk {
  std::string csr;
  std::optional<Certificate> current;
};
Result<CertificateAsk> read_certificate_request(const wire::pb::Signed& message,
                                                const PublicKey& key, const NodeId& id);

}  // namespace postern::node
