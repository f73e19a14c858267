"""clquant's built-in networks (models/) as PyTorch modules whose parameters have the same names."""
import torch.nn.functional as F
from torch import nn


def _conv(inputs, outputs, kernel, stride=1, groups=1):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)


class ZeroPadded(nn.Module):
    """Shortcut A: every second pixel, zero channels on both sides."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.stride = stride
        self.front = (outputs - inputs) // 2
        self.back = outputs - inputs - self.front

    def forward(self, x):
        return F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, self.front, self.back))


class Block(nn.Module):
    """3x3, 3x3; or 1x1, 3x3, 1x1 with four times the channels at the end."""

    def __init__(self, inputs, channels, stride, bottleneck, zero_padded):
        super().__init__()
        outputs = 4 * channels if bottleneck else channels
        widths = [inputs, channels, channels, outputs] if bottleneck else [inputs, channels, channels]
        kernels, strides = ([1, 3, 1], [1, stride, 1]) if bottleneck else ([3, 3], [stride, 1])
        self.count = len(kernels)
        for i in range(self.count):
            setattr(self, f"conv{i + 1}", _conv(widths[i], widths[i + 1], kernels[i], strides[i]))
            setattr(self, f"bn{i + 1}", nn.BatchNorm2d(widths[i + 1]))
            setattr(self, f"relu{i + 1}", nn.ReLU())
        if stride == 1 and inputs == outputs:
            self.downsample = nn.Identity()
        elif zero_padded:
            self.downsample = ZeroPadded(inputs, outputs, stride)
        else:
            self.downsample = nn.Sequential(_conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            if i == self.count:
                y = y + self.downsample(x)
            y = getattr(self, f"relu{i}")(y)
        return y


class ResNet(nn.Module):
    def __init__(self, blocks, channels, bottleneck, stem, classes, zero_padded=False):
        super().__init__()
        small = stem == "cifar"
        self.conv1 = _conv(3, channels, 3 if small else 7, 1 if small else 2)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        self.stages = len(blocks)
        inputs = channels
        for stage, count in enumerate(blocks):
            layer = []
            for block in range(count):
                layer.append(Block(inputs, channels << stage, 2 if stage > 0 and block == 0 else 1, bottleneck,
                                   zero_padded))
                inputs = (channels << stage) * (4 if bottleneck else 1)
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layer))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return self.fc(x.mean((2, 3)))


def _conv_bn_relu6(inputs, outputs, kernel, stride=1, groups=1):
    return nn.Sequential(_conv(inputs, outputs, kernel, stride, groups), nn.BatchNorm2d(outputs), nn.ReLU6())


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, stride, expansion):
        super().__init__()
        width = expansion * inputs
        layers = [_conv_bn_relu6(inputs, width, 1)] if expansion != 1 else []
        layers += [_conv_bn_relu6(width, width, 3, stride, width), _conv(width, outputs, 1), nn.BatchNorm2d(outputs)]
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """`dropout` 0 where results are compared: the draws differ."""

    def __init__(self, stem, classes, dropout=0.0):
        super().__init__()
        small = stem == "cifar"
        stages = [(1, 16, 1, 1), (6, 24, 2, 1 if small else 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
                  (6, 160, 3, 2), (6, 320, 1, 1)]
        features, inputs = [_conv_bn_relu6(3, 32, 3, 1 if small else 2)], 32
        for expansion, outputs, blocks, stride in stages:
            for block in range(blocks):
                features.append(InvertedResidual(inputs, outputs, stride if block == 0 else 1, expansion))
                inputs = outputs
        features.append(_conv_bn_relu6(inputs, 1280, 1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(1280, classes))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def build(name, stem="cifar", classes=10):
    """resnet18 .. 101 and mobilenet_v2 with either stem; resnet20 .. 56, with shortcut A."""
    if name == "mobilenet_v2":
        return MobileNetV2(stem, classes)
    large = {"resnet18": [2, 2, 2, 2], "resnet34": [3, 4, 6, 3], "resnet50": [3, 4, 6, 3], "resnet101": [3, 4, 23, 3]}
    if name in large:
        return ResNet(large[name], 64, name in ("resnet50", "resnet101"), stem, classes)
    return ResNet([(int(name[6:]) - 2) // 6] * 3, 16, False, "cifar", classes, zero_padded=True)
