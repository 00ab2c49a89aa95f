#include "node/signed.h"

#include <cstring>

namespace postern::node {

bool verifies(const PublicKey& key, std::string_view context, const wire::pb::Signed& message) {
  Signature signature{};
  if (message.signature().size() != signature.size()) return false;
  std::memcpy(signature.data(), message.signature().data(), signature.size());
  return key.verifies(context, as_bytes(message.body()), signature);
}

wire::pb::Signed sign(const PrivateKey& key, std::string_view context, std::string body,
                      std::uint64_t signer) {
  wire::pb::Signed message;
  message.set_body(std::move(body));
  const Signature signature = key.sign(context, as_bytes(message.body()));
  message.set_signature(signature.data(), signature.size());
  message.set_signer(signer);
  return message;
}

}  // namespace postern::node
