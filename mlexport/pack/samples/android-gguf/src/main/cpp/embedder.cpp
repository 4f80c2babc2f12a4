// SPDX-License-Identifier: Apache-2.0
// llama.cpp for Kotlin: a text's bytes (UTF-8, NFC) to its vector.
#include <jni.h>

#include <algorithm>
#include <cmath>
#include <thread>
#include <vector>

#include "llama.h"

namespace {

constexpr int micro_batch = 128;

struct Embedder {
    llama_model *model;
    llama_context *context = nullptr;
    int room = 0;

    // A context as long as the text needs: one for the longest text can take gigabytes
    bool make_room(int tokens) {
        if (tokens <= room) return true;
        if (context) llama_free(context);
        for (room = 512; room < tokens;) room *= 2;
        llama_context_params options = llama_context_default_params();
        options.n_ctx = options.n_batch = room;
        options.n_ubatch = micro_batch;
        // llama.cpp's threads spin while they wait: more than there are fast cores slow each other down
        options.n_threads = options.n_threads_batch = std::clamp(int(std::thread::hardware_concurrency()) / 2, 1, 4);
        options.embeddings = true;
        // Pooling over several micro-batches is right for causal attention alone
        options.attention_type = LLAMA_ATTENTION_TYPE_CAUSAL;
        context = llama_init_from_model(model, options);
        if (!context) room = 0;
        return context;
    }
};

// Cut to the longest text; the end token stays last, because its vector is the text's
std::vector<llama_token> tokens_of(const Embedder &embedder, const std::vector<char> &text, int longest, int end) {
    std::vector<llama_token> ids(text.size() + 8);
    const llama_vocab *vocabulary = llama_model_get_vocab(embedder.model);
    int count = llama_tokenize(vocabulary, text.data(), text.size(), ids.data(), ids.size(), false, true);
    ids.resize(std::clamp(count, 0, longest - 1));
    ids.push_back(end);
    return ids;
}

}  // namespace

extern "C" JNIEXPORT jlong JNICALL Java_mlexport_sample_Llama_open(JNIEnv *env, jobject, jstring path) {
    llama_backend_init();
    const char *name = env->GetStringUTFChars(path, nullptr);
    llama_model *model = llama_model_load_from_file(name, llama_model_default_params());
    env->ReleaseStringUTFChars(path, name);
    return model ? reinterpret_cast<jlong>(new Embedder{model}) : 0;
}

extern "C" JNIEXPORT jfloatArray JNICALL Java_mlexport_sample_Llama_embed(
    JNIEnv *env, jobject, jlong handle, jbyteArray bytes, jint longest, jint end, jint dim) {
    auto &embedder = *reinterpret_cast<Embedder *>(handle);
    std::vector<char> text(env->GetArrayLength(bytes));
    env->GetByteArrayRegion(bytes, 0, text.size(), reinterpret_cast<jbyte *>(text.data()));
    std::vector<llama_token> ids = tokens_of(embedder, text, longest, end);
    if (!embedder.make_room(ids.size())) return nullptr;
    llama_memory_clear(llama_get_memory(embedder.context), true);
    if (llama_decode(embedder.context, llama_batch_get_one(ids.data(), ids.size()))) return nullptr;
    const float *pooled = llama_get_embeddings_seq(embedder.context, 0);
    if (!pooled) return nullptr;
    std::vector<float> vector(pooled, pooled + dim);
    double sum = 0;
    for (float number : vector) sum += double(number) * number;
    const double length = std::max(std::sqrt(sum), 1e-30);
    for (float &number : vector) number = float(number / length);
    jfloatArray found = env->NewFloatArray(dim);
    if (found) env->SetFloatArrayRegion(found, 0, dim, vector.data());
    return found;
}

extern "C" JNIEXPORT void JNICALL Java_mlexport_sample_Llama_close(JNIEnv *, jobject, jlong handle) {
    auto *embedder = reinterpret_cast<Embedder *>(handle);
    if (embedder->context) llama_free(embedder->context);
    llama_model_free(embedder->model);
    delete embedder;
}
