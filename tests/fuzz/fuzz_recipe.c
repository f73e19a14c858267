/* Recipes: any file gives a recipe that keeps all rules, or an error. */
#include "cli/recipe.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    clq_recipe *recipe = NULL;
    if (clq_recipe_load(fuzz_put("recipe.json", data, size), NULL, 0, &recipe) == CLQ_OK) {
        fuzz_check(clq_train_config_check(&recipe->train) == CLQ_OK, "training");
        fuzz_check(clq_quant_config_check(&recipe->ptq) == CLQ_OK, "quantization");
    }
    clq_recipe_free(recipe);
    return 0;
}

void fuzz_seeds(void) {
    fuzz_add_text("{}");
    fuzz_add_file("models/recipes/mlp-regression.json");
    fuzz_add_file("models/recipes/resnet18-cifar10.json");
    fuzz_add_file("models/recipes/resnet20-cifar10.json");
    fuzz_add_file("models/recipes/imagenet-resnet50.json");
}
